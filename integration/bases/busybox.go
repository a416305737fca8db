package bases

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// busyboxVersion is what Debian 12's package contains.
const busyboxVersion = "1.35.0"

func busybox(sources []string) *recipe {
	return &recipe{
		title:  "busybox",
		names:  []string{"busybox:latest", "busybox:" + busyboxVersion, "busybox:1.35"},
		inputs: []any{busyboxVersion, sources, busyboxFiles()},
		make: func(ctx context.Context, k *kitchen, platform v1.Platform, _ v1.Image) (v1.Image, error) {
			binary, err := busyboxBinary(ctx, k, platform, sources)
			if err != nil {
				return nil, err
			}
			applets, err := k.applets(ctx, binary)
			if err != nil {
				return nil, err
			}
			layer, err := k.layer(busyboxContents(binary, applets))
			if err != nil {
				return nil, err
			}
			return addition{
				platform: platform, layer: layer, createdBy: "Debian's busybox-static",
				config: v1.Config{Env: []string{defaultPath}, Cmd: []string{"sh"}},
			}.add(nil)
		},
	}
}

// busyboxBinary takes the program out of Debian's package, without running or
// installing anything.
func busyboxBinary(ctx context.Context, k *kitchen, platform v1.Platform, sources []string) ([]byte, error) {
	archive, err := bootstrap{
		platform: platform, variant: "extract", sources: sources, include: []string{"busybox-static"},
	}.run(ctx, k)
	if err != nil {
		return nil, err
	}
	var binary []byte
	err = archiveContents(archive)(func(h *tar.Header, body io.Reader) error {
		if path.Base(h.Name) == "busybox" && h.Typeflag == tar.TypeReg && binary == nil {
			var err error
			binary, err = io.ReadAll(body)
			return err
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if !bytes.Contains(binary, []byte("BusyBox v"+busyboxVersion)) {
		return nil, fmt.Errorf("busybox-static is not version %s", busyboxVersion)
	}
	return binary, nil
}

// applets asks the program which commands it can be called as.
func (k *kitchen) applets(ctx context.Context, binary []byte) ([]string, error) {
	file := k.path("busybox")
	if err := os.WriteFile(file, binary, 0o755); err != nil {
		return nil, err
	}
	out, err := exec.CommandContext(ctx, file, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("busybox --list: %w", err)
	}
	applets := strings.Fields(string(out))
	slices.Sort(applets)
	return slices.DeleteFunc(applets, func(a string) bool { return a == "busybox" }), os.Remove(file)
}

// busyboxContents is laid out as in the real image: all commands are hard
// links in /bin.
func busyboxContents(binary []byte, applets []string) contents {
	return func(write func(*tar.Header, io.Reader) error) error {
		if err := write(regular("bin/busybox", 0o755, len(binary)), bytes.NewReader(binary)); err != nil {
			return err
		}
		for _, applet := range applets {
			link := &tar.Header{Typeflag: tar.TypeLink, Name: "bin/" + applet, Linkname: "bin/busybox", Mode: 0o755, ModTime: epoch()}
			if err := write(link, strings.NewReader("")); err != nil {
				return err
			}
		}
		for _, f := range busyboxFiles() {
			if err := write(f.header(), strings.NewReader(f.Text)); err != nil {
				return err
			}
		}
		return nil
	}
}

// file is an entry with a short text, a folder when Name ends with a slash, or
// a symbolic link when Link is set.
type file struct {
	Name string
	Mode int64
	Text string
	Link string
}

func (f file) header() *tar.Header {
	h := regular(f.Name, f.Mode, len(f.Text))
	switch {
	case f.Link != "":
		h.Typeflag, h.Linkname = tar.TypeSymlink, f.Link
	case strings.HasSuffix(f.Name, "/"):
		h.Typeflag = tar.TypeDir
	}
	return h
}

func regular(name string, mode int64, size int) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(size), ModTime: epoch()}
}

// busyboxFiles is what the image has beside the program.
func busyboxFiles() []file {
	return []file{
		{Name: "etc/", Mode: 0o755},
		{Name: "etc/group", Mode: 0o644, Text: "root:x:0:\ndaemon:x:1:\nwww-data:x:33:\nusers:x:100:\nnogroup:x:65534:\n"},
		{Name: "etc/passwd", Mode: 0o644, Text: "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\n" +
			"www-data:x:33:33:www-data:/var/www:/bin/false\nnobody:x:65534:65534:nobody:/home:/bin/false\n"},
		{Name: "etc/shadow", Mode: 0o600, Text: "root:*:::::::\ndaemon:*:::::::\nwww-data:*:::::::\nnobody:*:::::::\n"},
		{Name: "home/", Mode: 0o755},
		{Name: "root/", Mode: 0o700},
		{Name: "tmp/", Mode: 0o1777},
		{Name: "usr/", Mode: 0o755},
		{Name: "usr/bin/", Mode: 0o755},
		{Name: "usr/bin/env", Mode: 0o777, Link: "../../bin/env"},
		{Name: "usr/sbin/", Mode: 0o755},
		{Name: "var/", Mode: 0o755},
		{Name: "var/tmp/", Mode: 0o1777},
	}
}
