package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
)

// The rows of the table "Speed, against the peer". Bases are pinned by digest on all sides, all sides push to the
// same registry, and what they pushed last is the same file by file.

func goarch() string { return runtime.GOARCH }

// unchangedProject is the Dockerfile of the other measurements, pinned.
func (b *bench) unchangedProject() (project, error) {
	debian, err := b.pinned("debian:bookworm-slim")
	if err != nil {
		return "", err
	}
	busybox, err := b.pinned("busybox")
	if err != nil {
		return "", err
	}
	text := strings.NewReplacer("FROM debian:bookworm-slim", "FROM "+debian, "FROM busybox", "FROM "+busybox).Replace(dockerfile)
	p, err := b.newProject("unchanged", text, "")
	for i := 0; i < 300 && err == nil; i++ {
		err = p.put(fmt.Sprintf("data/%d", i), strings.Repeat(fmt.Sprint(i), 2000))
	}
	return p, err
}

// unchanged is row 1: the whole process of a build that pushes, and nothing has changed.
func (b *bench) unchanged() error {
	p, err := b.unchangedProject()
	if err != nil {
		return err
	}
	image := b.env.Registry.Ref("bench/unchanged")
	ours, err := b.machine("unchanged", "").known(image, "-f", p.dockerfile(), p.context())
	if err != nil {
		return err
	}
	mark := b.env.Registry.Mark()
	if err := ours.run(); err != nil {
		return err
	}
	heads := len(b.env.Registry.Requests(mark))
	sides := append([]side{ours}, b.onDaemon(p, image, times(5))...)
	sides = append(sides,
		side{name: "buildah", image: image + ":buildah", leaves: mountPoints(), run: func() error { return b.viaBuildah(p, image+":buildah") }},
		side{name: "one HEAD, new connection", run: func() error { return head(image + ":ibuild") }})
	took, err := b.hold(contest{work: "1 no change, push", sides: sides})
	if err != nil {
		return err
	}
	beyond := took["ibuild"] - took["one HEAD, new connection"]
	met := "met"
	if beyond > 15*time.Millisecond {
		met = "missed"
	}
	fmt.Printf("| 1 the same, beyond the HEADs (%d requests) | %s | | | | ≤ 15 ms, %s |\n", heads, fine(beyond), met)
	return nil
}

// head asks once for a manifest, as a program does that has just started.
func head(image string) error {
	ref, err := name.ParseReference(image)
	if err != nil {
		return err
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequest(http.MethodHead, fmt.Sprintf("http://%s/v2/%s/manifests/%s", ref.Context().RegistryStr(), ref.Context().RepositoryStr(), ref.Identifier()), nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json")
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("HEAD of %s: %s", image, resp.Status)
	}
	return nil
}

// manyFiles is the number of files in the contexts of rows 2 and 3.
const manyFiles = 10_000

// filesProject has a context of many files on a small base, as a Dockerfile and as a spec.
func (b *bench) filesProject(name string) (project, error) {
	busybox, err := b.pinned("busybox")
	if err != nil {
		return "", err
	}
	p, err := b.newProject(name, "FROM "+busybox+"\nCOPY . /app/\n", specOf(busybox))
	if err == nil {
		err = p.fill(manyFiles)
	}
	return p, err
}

// specOf copies the context to /app.
func specOf(base string) string {
	return "base_image: " + base + "\nlayers:\n  - source_folder: {src: context, dst: /app/}\n"
}

// files is row 2: the context has many files, and nothing has changed.
func (b *bench) files() error {
	p, err := b.filesProject("files")
	if err != nil {
		return err
	}
	image := b.env.Registry.Ref("bench/files")
	ours, err := b.machine("files", "").known(image, "-f", p.dockerfile(), p.context())
	if err != nil {
		return err
	}
	_, err = b.hold(contest{work: "2 10,000 files, no change", sides: append([]side{ours}, b.onDaemon(p, image, times(4))...)})
	return err
}

// change is row 3: one of many files has changed, and ibuild has a spec.
func (b *bench) change() error {
	p, err := b.filesProject("change")
	if err != nil {
		return err
	}
	image := b.env.Registry.Ref("bench/change")
	ours, err := b.machine("change", "").known(image, string(p))
	if err != nil {
		return err
	}
	_, err = b.hold(contest{
		work:   "3 10,000 files, one changed, spec",
		change: func(number int) error { return p.put("src/050/50.txt", fmt.Sprintf("change %d\n", number)) },
		sides:  append([]side{ours}, b.onDaemon(p, image, times(4))...),
	})
	return err
}

// code is row 4: one file has changed on a base of 330 MB that the builders have or do not have.
func (b *bench) code() error {
	base, err := b.bigBase()
	if err != nil {
		return err
	}
	p, err := b.newProject("code", "FROM "+base+"\nCOPY . /app/\n", specOf(base))
	if err != nil {
		return err
	}
	cold, err := b.startDaemon("buildkitd-cold")
	if err != nil {
		return err
	}
	defer cold.stop()
	change := func(number int) error {
		return errors.Join(p.put("main.py", fmt.Sprintf("print(%d)\n", number)), p.put("lib/part.py", "answer = 42\n"))
	}
	if err := change(-1); err != nil {
		return err
	}
	image := b.env.Registry.Ref("bench/code")
	m := b.machine("code", "")
	ours, err := m.known(image, string(p))
	if err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(m.dir, "engine")); err != nil { // the base is in the registry only
		return err
	}
	sides := append([]side{ours}, b.onDaemon(p, image, times(2))...)
	sides = append(sides, b.codeSides(p, base, image, cold)...)
	_, err = b.hold(contest{work: "4 code change, base of 330 MB", change: change, sides: sides})
	return err
}

// codeSides are the programs of row 4 beside a warm daemon.
func (b *bench) codeSides(p project, base, image string, cold *daemon) []side {
	layer := filepath.Join(b.dir, "code.tar")
	empty := func() error { return b.empty(cold) }
	return []side{
		{name: "buildctl, cold", image: image + ":cold", goal: times(50), slow: true, before: empty, run: func() error {
			return b.viaBuildctl(cold, p, p.dockerfile(), image+":cold", "")
		}},
		{name: "buildctl, cold, best flags", image: image + ":cold-best", slow: true, before: empty, run: func() error {
			return b.viaBuildctl(cold, p, p.linked(), image+":cold-best", best)
		}},
		{name: "buildah", image: image + ":buildah", slow: true, run: func() error { return b.viaBuildah(p, image+":buildah") }},
		{name: "crane append, of an archive made before", image: image + ":crane", goal: atMost(1.5),
			before: func() error {
				return b.exec("tar", "-C", p.context(), "--owner=0", "--group=0", "--transform=s,^\\.,app,", "-cf", layer, ".")
			},
			run: func() error {
				return b.exec(b.peers.crane, "append", "--insecure", "-b", base, "-f", layer, "-t", image+":crane")
			}},
	}
}

// manyLayers is the number of layers in the Dockerfile of row 5.
const manyLayers = 200

// layers is row 5: a Dockerfile of 200 layers, half of them made by programs, half of them copied.
func (b *bench) layers() error {
	busybox, err := b.pinned("busybox")
	if err != nil {
		return err
	}
	text := "FROM " + busybox + "\n"
	for i := range manyLayers / 2 {
		text += fmt.Sprintf("RUN echo %d > /made-%d\nCOPY %d /copied/%d\n", i, i, i, i)
	}
	p, err := b.newProject("layers", text, "")
	for i := 0; i < manyLayers/2 && err == nil; i++ {
		err = p.put(fmt.Sprint(i), fmt.Sprintf("file %d\n", i))
	}
	if err != nil {
		return err
	}
	image := b.env.Registry.Ref("bench/layers")
	ours, err := b.machine("layers", "").known(image, "-f", p.dockerfile(), p.context())
	if err != nil {
		return err
	}
	_, err = b.hold(contest{work: "5 200 layers, no change", sides: append([]side{ours}, b.onDaemon(p, image, times(20))...)})
	return err
}

// manyClients is how many processes row 6 starts at once.
const manyClients = 50

// clients is row 6: many processes build the same at once, and nothing has changed. All sides are clients of the
// same daemon.
func (b *bench) clients() error {
	p, err := b.unchangedProject()
	if err != nil {
		return err
	}
	image := b.env.Registry.Ref("bench/clients")
	ours, err := b.machine("clients", b.daemon.addr).known(image, "-f", p.dockerfile(), p.context())
	if err != nil {
		return err
	}
	sides := append([]side{ours}, b.onDaemon(p, image, times(4))...)
	for i := range sides {
		one := sides[i].run
		sides[i].run = func() error { return atOnce(manyClients, one) }
	}
	_, err = b.hold(contest{work: "6 50 clients at once, no change", sides: sides})
	return err
}

// atOnce ends when the last of count runs has ended.
func atOnce(count int, run func() error) error {
	errs := make([]error, count)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() { errs[i] = run() })
	}
	all.Wait()
	return errors.Join(errs...)
}

// second is row 7: a machine that has built nothing, a spec whose steps another machine has run, and the same
// registry. It is compared with row 1's build on the machine that knows it.
func (b *bench) second() error {
	busybox, err := b.pinned("busybox")
	if err != nil {
		return err
	}
	p, err := b.newProject("second", "", strings.Replace(specOf(busybox), "layers:\n", "layers:\n  - run: echo made > /made\n", 1))
	if err == nil {
		err = p.fill(100)
	}
	if err != nil {
		return err
	}
	image := b.env.Registry.Ref("bench/second")
	first, other := b.machine("first", ""), b.machine("second", "")
	if err := first.prepare(image+":first", string(p)); err != nil {
		return err
	}
	known, err := b.unchangedProject()
	if err != nil {
		return err
	}
	source := []string{"-f", known.dockerfile(), known.context()}
	if err := first.prepare(image+":known", source...); err != nil {
		return err
	}
	_, err = b.hold(contest{work: "7 an empty cache on a second machine", sides: []side{
		{name: "ibuild", image: image + ":second", before: other.forget, run: func() error { return other.build(image+":second", string(p)) }},
		{name: "ibuild, which knows it (same spec)", image: image + ":first", run: func() error { return first.build(image+":first", string(p)) }},
		{name: "ibuild, row 1", goal: atMost(3), run: func() error { return first.build(image+":known", source...) }},
	}})
	return err
}
