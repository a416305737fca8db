package aptrepo

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"strings"
	"testing"
)

func TestFiles(t *testing.T) {
	files, err := Files()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Files()
	if err != nil || !maps.EqualFunc(files, again, bytes.Equal) {
		t.Errorf("two repositories differ: %v", err)
	}
	deb := files["ibuild-deb-hello_1.0_all.deb"]
	if !bytes.HasPrefix(deb, []byte("!<arch>\ndebian-binary   ")) {
		t.Errorf("the package begins with %q", deb[:min(len(deb), 40)])
	}
	if want := fmt.Sprintf("Size: %d\nSHA256: %x\n", len(deb), sha256.Sum256(deb)); !strings.Contains(string(files["Packages"]), want) {
		t.Errorf("Packages says %s, want %s", files["Packages"], want)
	}
	if want := fmt.Sprintf(" %x %d Packages\n", sha256.Sum256(files["Packages"]), len(files["Packages"])); !strings.Contains(string(files["Release"]), want) {
		t.Errorf("Release says %s, want %s", files["Release"], want)
	}
}
