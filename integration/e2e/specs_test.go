//go:build integration

package e2e

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/ibuild/ibuild/integration/imagetest"
)

// specExample is a folder of examples/specs.
type specExample struct {
	dir     string
	secrets map[string]string // values by id
	run     imagetest.RunOptions
	want    string
}

func specExamples() []specExample {
	return []specExample{
		{dir: "data-tools", want: "1\n3 steps, from 3 to 1\n"},
		{dir: "private", secrets: map[string]string{"API_TOKEN": "the-api-token-of-the-test", "registry/license": "the-license-of-the-test"},
			want: "token seen, optional absent\nlicense seen\n"},
		{dir: "site", run: imagetest.RunOptions{Entrypoint: []string{"sh", "-c", "pwd; id -un; cat public/index.html public/img/logo.svg /etc/httpd.conf; ls -ld /etc | cut -c 1-10"}},
			want: "/srv/www\nnobody\n<p>hello from a folder</p>\nsvg\nI:index.html\ndrwxr-xr-x\n"},
		{dir: "train", want: "1  0.5    -0.5\n2  0.75   -0.75\n3  0.875  -0.875\n" + `it's "quoted", has two  spaces and a $dollar` + "\n"},
	}
}

// TestSpecs builds every spec with every engine, twice: with the code put on in ibuild's own process, and with
// everything made by the builder. Config and files are the same, and the image does what it should.
func TestSpecs(t *testing.T) {
	for _, x := range specExamples() {
		t.Run(x.dir, x.test)
	}
}

func (x specExample) test(t *testing.T) {
	var all agreement
	enginesAtOnce(t, engines(t), func(t *testing.T, e engine) {
		assembled := x.assembled(t, e)
		all.add(t, assembled, amd64, func() { prints(t, assembled, x.run, x.want) })
		x.whole(t, e, lookInto(t, assembled))
	})
}

// assembled is the image with its code put on in ibuild's process.
func (x specExample) assembled(t *testing.T, e engine) v1.Image {
	t.Helper()
	ref := shared.env.Registry.Ref("specs/" + x.dir + "/" + e.name)
	o := e.ibuild(t, x.args(t, "--push", "-t", ref)...)
	if !strings.Contains(o.stderr, "code put on top") && !strings.Contains(o.stderr, "put together without a builder") {
		t.Errorf("the image was not assembled:\n%s", o.stderr)
	}
	for id, value := range x.secrets {
		keepsSecret(t, e, o, ref, id, value)
	}
	return pull(t, ref, amd64)
}

// whole has the builder make all of the image, which it must where a file tree is wanted.
func (x specExample) whole(t *testing.T, e engine, want look) {
	t.Helper()
	ref := shared.env.Registry.Ref("specs/" + x.dir + "/whole-" + e.name)
	archive := filepath.Join(folder(t), "tree.tar")
	o := e.ibuild(t, x.args(t, "--push", "-t", ref, "-o", "type=tar,dest="+archive)...)
	if !strings.Contains(o.stderr, "built by") {
		t.Errorf("the builder was not asked for the whole image:\n%s", o.stderr)
	}
	want.same(t, pull(t, ref, amd64))
	want.withParents().sameFiles(t, filesOfTar(t, archive))
}

func (x specExample) args(t *testing.T, flags ...string) []string {
	t.Helper()
	args := append([]string{"build", "--progress", "plain"}, flags...)
	for id, value := range x.secrets {
		args = append(args, "--secret", "id="+id+",src="+filepath.Join(files(t, "secret", value), "secret"))
	}
	return append(args, filepath.Join(shared.examples, "specs", x.dir))
}

// filesOfTar lists the files of an archive as if it were an image's only layer.
func filesOfTar(t *testing.T, archive string) []imagetest.File {
	t.Helper()
	file, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	found, err := imagetest.ArchiveFiles(bufio.NewReaderSize(file, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestSpecSecretIsMissing is told before anything is built, with the places that were looked at.
func TestSpecSecretIsMissing(t *testing.T) {
	e := engineNamed(t, "user")
	o := end(t, e.command(t, "build", filepath.Join(shared.examples, "specs", "private")))
	for _, want := range []string{"API_TOKEN", "/etc/secrets", "--secret id="} {
		if !strings.Contains(o.stderr, want) {
			t.Errorf("the message does not name %s:\n%s", want, o.stderr)
		}
	}
	if o.code != 2 {
		t.Errorf("exit code %d, want 2", o.code)
	}
}
