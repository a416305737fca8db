package results

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/ibuild/ibuild/registry"
)

func TestRoundTrip(t *testing.T) {
	s := newServer(t)
	from := t.TempDir()
	write(t, from+"/log.txt", []byte("epoch 1\n"), 0o644)
	write(t, from+"/empty", nil, 0o600)
	write(t, from+"/bin/tool", []byte("#!/bin/sh\n"), 0o755)
	write(t, from+"/read only", []byte("x"), 0o444)
	write(t, from+"/checkpoint/model.safetensors", random(9<<20), 0o644)
	write(t, from+"/checkpoint/optimizer.pt", random(5<<20), 0o640)
	write(t, from+"/checkpoint/zeros", make([]byte, 20<<20), 0o644)
	write(t, from+"/just small", random(small), 0o644)
	write(t, from+"/just large", random(small+1), 0o644)
	write(t, from+"/odd\nname \xff\xfe ü", []byte("y"), 0o644)
	write(t, from+"/"+strings.Repeat("long/", 50)+strings.Repeat("n", 200), []byte("z"), 0o644)
	for target, name := range map[string]string{"checkpoint": "latest", "../log.txt": "checkpoint/log", "no/such/thing": "dangling"} {
		if err := os.Symlink(target, filepath.Join(from, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(from+"/empty folder", 0o750); err != nil {
		t.Fatal(err)
	}
	pushed, err := Push(t.Context(), newClient(), from, s.ref(), nil)
	if err != nil || pushed.Files != 11 || pushed.Missed != 0 || pushed.Digest == "" {
		t.Fatalf("%+v, %v", pushed, err)
	}
	to := t.TempDir() + "/new/folder"
	got, err := Fetch(t.Context(), newClient(), s.ref(), "", Target{Folder: to})
	if err != nil || got.Digest != pushed.Digest || got.Files != pushed.Files || got.Bytes != pushed.Bytes {
		t.Fatalf("%+v, %v", got, err)
	}
	if diff := cmp.Diff(tree(t, from), tree(t, to)); diff != "" {
		t.Error(diff)
	}
}

// TestSameBytes: the same folder is the same artifact, and what the registry has is not sent again.
func TestSameBytes(t *testing.T) {
	s := newServer(t)
	from := t.TempDir()
	for i := range 20 {
		write(t, fmt.Sprintf("%s/%d", from, i), random(i<<20), 0o644)
	}
	first, err := Push(t.Context(), newClient(), from, s.ref(), nil)
	if err != nil {
		t.Fatal(err)
	}
	s.be(nil)
	second, err := Push(t.Context(), newClient(), from, s.ref(), nil)
	if err != nil || second.Digest != first.Digest {
		t.Fatalf("%s, then %s, %v", first.Digest, second.Digest, err)
	}
	if n := s.count("PATCH") + s.count("PUT /v2/me/job/blobs"); n > 1 { // the document of two bytes is not asked for
		t.Errorf("%d uploads of what is there: %q", n, s.log)
	}
}

func TestNothing(t *testing.T) {
	s := newServer(t)
	from := t.TempDir()
	if err := os.MkdirAll(from+"/a/b", 0o755); err != nil {
		t.Fatal(err)
	}
	got, err := Push(t.Context(), newClient(), from, s.ref(), nil)
	if err != nil || got.Digest != "" || len(s.log) > 0 {
		t.Errorf("%+v, %v, %q", got, err, s.log)
	}
	if _, err := Fetch(t.Context(), newClient(), s.ref(), "", Target{Folder: t.TempDir()}); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("results that are not there: %v", err)
	}
}

// TestLeftOut: what is no file, or leads out, is said and not sent; the rest is.
func TestLeftOut(t *testing.T) {
	s := newServer(t)
	from, outside := t.TempDir(), t.TempDir()
	write(t, from+"/good", []byte("1"), 0o644)
	write(t, outside+"/secret", []byte("canary"), 0o644)
	links := map[string]string{"absolute": outside + "/secret", "up": "../../etc/passwd", "upanddown": "good/../../x", "folder": outside}
	for name, target := range links {
		if err := os.Symlink(target, from+"/"+name); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(from+"/good", from+"/latest"); err != nil { // absolute, and below the folder
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(from+"/pipe", 0o644); err != nil {
		t.Fatal(err)
	}
	socket, err := net.Listen("unix", from+"/socket")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	want := 6
	if os.Getuid() != 0 { // nothing is unreadable for root
		write(t, from+"/unreadable", []byte("2"), 0)
		want++
	}
	if os.Getuid() == 0 && syscall.Mknod(from+"/device", syscall.S_IFCHR|0o666, 1<<8|3) == nil {
		want++
	}
	got, err := Push(t.Context(), newClient(), from, s.ref(), nil)
	if err != nil || got.Files != 1 || got.Missed != want || len(got.Left) != want {
		t.Fatalf("%+v, %v; %d are to be left", got, err, want)
	}
	to := t.TempDir()
	fetched, err := Fetch(t.Context(), newClient(), s.ref(), "", Target{Folder: to})
	if diff := cmp.Diff(got.Left, fetched.Left); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	if files := tree(t, to); len(files) != 2 {
		t.Errorf("%v", files)
	}
	if target, err := os.Readlink(to + "/latest"); err != nil || target != "good" {
		t.Errorf("a link below the folder leads to %q, %v", target, err)
	}
	if said := fmt.Sprint(got.Left); !strings.Contains(said, `"pipe": it is a pipe, no file`) || !strings.Contains(said, `"socket": it is a socket`) || !strings.Contains(said, "not relative") || !strings.Contains(said, "goes down and up") || strings.Contains(said, "canary") {
		t.Error(said)
	}
}

// TestUnreadable runs as an ordinary user would: a file system that refuses is the same for root.
func TestUnreadable(t *testing.T) {
	s := newServer(t)
	from := t.TempDir()
	write(t, from+"/good", []byte("1"), 0o644)
	root, err := os.OpenRoot(from)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	all, err := collect(root)
	if err != nil {
		t.Fatal(err)
	}
	all.entries = append(all.entries, entry{path: "gone"}, entry{path: "gone too", size: small + 1})
	way := codecFor(t)
	p := &push{collection: all, client: newClient(), way: way, repo: s.host + "/me/job"}
	if err := p.layers(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := p.finish(t.Context(), s.ref())
	if err != nil || got.Files != 1 || got.Missed != 2 || !strings.Contains(fmt.Sprint(got.Left), "no such file") {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestChanging: a file that is written while it is sent comes as it was at one moment, or is left out.
func TestChanging(t *testing.T) {
	for name, change := range map[string]func(file *os.File, n int){
		"other bytes": func(file *os.File, n int) { _, _ = file.WriteAt([]byte(fmt.Sprint(n)), 1<<20) },
		"smaller":     func(file *os.File, n int) { _ = file.Truncate(int64(20<<20 - n*1000)) },
		"larger":      func(file *os.File, n int) { _ = file.Truncate(int64(20<<20 + n*1000)) },
	} {
		for _, times := range []int64{1, 100} {
			t.Run(fmt.Sprintf("%s %d times", name, times), func(t *testing.T) {
				s := newServer(t)
				from := t.TempDir()
				write(t, from+"/small", []byte("1"), 0o644)
				write(t, from+"/large", random(20<<20), 0o644)
				file, err := os.OpenFile(from+"/large", os.O_RDWR, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer file.Close()
				var done atomic.Int64
				s.be(func(_ http.ResponseWriter, r *http.Request) bool {
					if r.Method == http.MethodPost { // after it was measured, before it is sent
						if n := done.Add(1); n <= 2*times {
							change(file, int(n))
						}
					}
					return false
				})
				got, err := Push(t.Context(), newClient(), from, s.ref(), nil)
				if err != nil || got.Files+got.Missed != 2 || times == 1 && got.Missed > 0 && name != "larger" {
					t.Fatalf("%+v, %v", got, err)
				}
				to := t.TempDir()
				if _, err := Fetch(t.Context(), newClient(), s.ref(), "", Target{Folder: to}); err != nil {
					t.Fatal(err)
				}
				if times == 1 && len(tree(t, to)) != 2 {
					t.Errorf("%v", tree(t, to))
				}
				t.Logf("%d tries, %v", done.Load(), got.Left)
			})
		}
	}
}

// TestCut: an upload that is cut goes on, a registry that refuses is an error that says so.
func TestCut(t *testing.T) {
	s := newServer(t)
	from := t.TempDir()
	write(t, from+"/large", random(20<<20), 0o644)
	var cuts atomic.Int64
	s.be(func(w http.ResponseWriter, r *http.Request) bool {
		if !uploads(r) || cuts.Add(1) > 2 {
			return false
		}
		_, _ = io.CopyN(io.Discard, r.Body, 3<<20)
		panic(http.ErrAbortHandler)
	})
	got, err := Push(t.Context(), newClient(), from, s.ref(), nil)
	if err != nil || got.Files != 1 || cuts.Load() < 3 {
		t.Fatalf("%+v, %v, %d cuts", got, err, cuts.Load())
	}
	s.be(func(w http.ResponseWriter, r *http.Request) bool {
		http.Error(w, "no", http.StatusForbidden)
		return true
	})
	if _, err := Push(t.Context(), newClient(), from, s.ref(), nil); !errors.Is(err, registry.ErrDenied) {
		t.Errorf("a refusal is %v", err)
	}
	s.be(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodHead { // asked for the blob
			w.WriteHeader(http.StatusNotFound)
			return true
		}
		if r.Method == http.MethodPut || r.Method == http.MethodPatch {
			_, _ = io.Copy(io.Discard, r.Body)
			http.Error(w, `{"errors":[{"code":"DIGEST_INVALID"}]}`, http.StatusBadRequest)
			return true
		}
		return false
	})
	if _, err := Push(t.Context(), newClient(), from, s.ref(), nil); !errors.Is(err, registry.ErrBadAnswer) {
		t.Errorf("a registry that calls right digests wrong: %v", err)
	}
}

func TestCancelledPush(t *testing.T) {
	s := newServer(t)
	from := t.TempDir()
	write(t, from+"/large", random(20<<20), 0o644)
	ctx, cancel := context.WithCancel(t.Context())
	s.be(func(_ http.ResponseWriter, r *http.Request) bool {
		if uploads(r) {
			cancel()
		}
		return false
	})
	begin := time.Now()
	if _, err := Push(ctx, newClient(), from, s.ref(), nil); !errors.Is(err, context.Canceled) || time.Since(begin) > 10*time.Second {
		t.Errorf("%v after %s", err, time.Since(begin))
	}
	if s.count("PUT /v2/me/job/manifests") > 0 {
		t.Error("the tag was set")
	}
}

func TestManyFiles(t *testing.T) {
	s := newServer(t)
	from := t.TempDir()
	for i := range maxPacked + 500 {
		if err := os.WriteFile(fmt.Sprintf("%s/%d", from, i), []byte{byte(i)}, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Push(t.Context(), newClient(), from, s.ref(), nil)
	if err != nil || got.Files != maxPacked+500 {
		t.Fatalf("%+v, %v", got, err)
	}
	to := t.TempDir()
	if _, err := Fetch(t.Context(), newClient(), s.ref(), got.Digest, Target{Folder: to}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal([]byte(fmt.Sprint(len(tree(t, to)))), []byte(fmt.Sprint(maxPacked+500))) {
		t.Errorf("%d files came", len(tree(t, to)))
	}
}
