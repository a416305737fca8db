//go:build integration

package e2e

import (
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/ibuild/ibuild/integration/imagetest"
)

// TestTagsAreLookedAt moves and deletes what a build pushed; the next build sees it.
func TestTagsAreLookedAt(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		s := dockerfileSubject(t, e)
		ref := e.push(t, "tags/"+e.name, s.source)
		want := digestOf(t, ref)
		args := []string{"build", "--progress", "plain", "--push", "-t", ref, s.source}

		retag(t, ref, e.push(t, "tags/"+e.name+":other", otherImage(t)))
		if digestOf(t, ref) == want {
			t.Fatal("the tag did not move")
		}
		e.watch(t, false, args...).withoutBuilder(t, "after the tag was moved")
		if got := digestOf(t, ref); got != want {
			t.Errorf("the moved tag stands for %s, want %s", got, want)
		}
		e.push(t, "tags/"+e.name+":more", s.source)
		if got := digestOf(t, shared.env.Registry.Ref("tags/"+e.name+":more")); got != want {
			t.Errorf("a further tag stands for %s, want %s", got, want)
		}

		tag, err := name.NewTag(ref)
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Delete(tag, remote.WithContext(t.Context())); err != nil {
			t.Fatal(err)
		}
		if digestOf(t, ref) != "" {
			t.Fatal("the tag is still there")
		}
		e.watch(t, false, args...).withoutBuilder(t, "after the tag was deleted")
		if got := digestOf(t, ref); got != want {
			t.Errorf("the deleted tag stands for %q, want %s", got, want)
		}

		deleteManifest(t, ref, want)
		if digestOf(t, ref) != "" {
			t.Fatal("the manifest is still there")
		}
		e.watch(t, true, args...).withBuilder(t, "after the manifest was deleted")
		prints(t, pull(t, ref, amd64), noOptions, s.prints)
	})
}

// otherImage is the folder of another image.
func otherImage(t *testing.T) string {
	return files(t, "Dockerfile", "FROM busybox\nLABEL other=image\n")
}

// retag points a tag to another image of the same repository.
func retag(t *testing.T, ref, other string) {
	t.Helper()
	tag, err := name.NewTag(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Tag(tag, pull(t, other, amd64), remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
}

func deleteManifest(t *testing.T, ref, digest string) {
	t.Helper()
	r, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Delete(r.Context().Digest(digest), remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// TestForceAndNoCache: --force asks the builder, whose cache answers; --no-cache runs the steps again.
func TestForceAndNoCache(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		dir := files(t, "Dockerfile", "FROM busybox\nRUN echo "+nonce(t, e)+"; head -c 16 /dev/urandom | sha256sum > /random\nCMD [\"cat\", \"/random\"]\n")
		random := func(ref string) string {
			res, err := imagetest.Run(t.Context(), pull(t, ref, amd64), noOptions)
			if err != nil || len(res.Stdout) < 64 {
				t.Fatalf("%q, %v", res.Stdout, err)
			}
			return res.Stdout
		}
		ref := e.push(t, "force/"+e.name, dir)
		first := random(ref)
		args := []string{"build", "--progress", "plain", "--push", "-t", ref}
		e.watch(t, true, append(args, "--force", dir)...).withBuilder(t, "--force")
		if random(ref) != first {
			t.Error("--force ran a step again that the builder has")
		}
		e.watch(t, true, append(args, "--no-cache", dir)...).withBuilder(t, "--no-cache")
		if random(ref) == first {
			t.Error("--no-cache did not run the step")
		}
	})
}

// TestBaseMoves pushes another image under the base's tag: the next build is on that one, of a Dockerfile and of a spec.
func TestBaseMoves(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		for kind, source := range map[string][2]string{
			"dockerfile": {"Dockerfile", "FROM BASE\nRUN echo $BASE > /base\nCMD [\"cat\", \"/base\"]\n"},
			"spec":       {"image.yaml", "base_image: BASE\ncommands: [echo $BASE > /base]\ncmd: [cat, /base]\n"},
		} {
			t.Run(kind, func(t *testing.T) {
				base := "moving-base-" + kind + "-" + e.name
				pushLabelled(t, base, "first")
				dir := files(t, source[0], strings.Replace(source[1], "BASE", base+":1", 1))
				ref := e.push(t, "base/"+kind+"-"+e.name, dir)
				prints(t, pull(t, ref, amd64), noOptions, "first\n")
				pushLabelled(t, base, "second")
				e.watch(t, true, "build", "--progress", "plain", "--push", "-t", ref, dir).withBuilder(t, "after the base moved")
				prints(t, pull(t, ref, amd64), noOptions, "second\n")
			})
		}
	})
}

// pushLabelled pushes busybox as NAME:1, with a label in the variable BASE.
func pushLabelled(t *testing.T, image, label string) {
	t.Helper()
	from := pull(t, shared.env.Registry.Ref("library/busybox:latest"), amd64)
	config, err := from.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	settings := config.Config
	settings.Env = append(settings.Env, "BASE="+label)
	img, err := mutate.Config(from, settings)
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(shared.env.Registry.Ref("library/" + image + ":1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, img, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// TestEnvironmentIsGone deletes the environment image from the registry: a change of code needs the builder again.
func TestEnvironmentIsGone(t *testing.T) {
	e := engineNamed(t, "root")
	s := specSubject(t, e)
	ref := e.push(t, "gone/spec", s.source)
	repo, err := name.NewRepository(shared.env.Registry.Ref("gone/spec"))
	if err != nil {
		t.Fatal(err)
	}
	tags, err := remote.List(repo, remote.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	for _, tag := range tags {
		if tag != "latest" {
			deleteManifest(t, ref, digestOf(t, repo.Tag(tag).Name()))
		}
	}
	if len(tags) < 2 {
		t.Fatalf("there is no environment image among the tags %q", tags)
	}
	write(t, s.change, "changed\n")
	e.watch(t, true, "build", "--progress", "plain", "--push", "-t", ref, s.source).withBuilder(t, "without the environment image")
	prints(t, pull(t, ref, amd64), noOptions, "made\nchanged\n")
}
