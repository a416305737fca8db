package spec

import (
	"reflect"
	"testing"
)

// TestEveryListHasAMethod: what YAML has as a list can be added to in Go.
func TestEveryListHasAMethod(t *testing.T) {
	methods := map[string]string{
		"ca_certificates": "WithCACertificates", "platform_packages": "WithPlatformPackages", "apt_packages": "WithAptPackages",
		"conda_packages": "WithCondaPackages", "conda_channels": "WithCondaPackages", "packages": "WithPipPackages",
		"pip_extra_index_url": "WithPipPackages", "pip_extra_args": "WithPipPackages", "pip_secret_mounts": "WithSecrets",
		"commands": "WithCommands", "layers": "With", "copy": "WithCopy", "runtime_packages": "WithRuntimePackages", "secrets": "WithSecrets",
		"platforms": "WithPlatforms", "entrypoint": "WithEntrypoint", "cmd": "WithCmd", "from_env": "", // an image starts with it
	}
	f := &flat{reader: &reader{}, img: Image{marks: marks{}}}
	lists := 0
	for _, field := range f.fields() {
		if !isList(field.form) {
			continue
		}
		lists++
		name, known := methods[field.name]
		if _, there := reflect.TypeFor[Image]().MethodByName(name); !known || name != "" && !there {
			t.Errorf("the list %s has no method: %q", field.name, name)
		}
	}
	if lists != len(methods) {
		t.Errorf("%d lists, the test knows %d", lists, len(methods))
	}
}

// isList says whether a value may be a list.
func isList(f form) bool {
	if either, ok := f["anyOf"].([]form); ok {
		for _, one := range either {
			if isList(one) {
				return true
			}
		}
	}
	return f["type"] == "array"
}

// TestClone has each change, and what stays.
func TestClone(t *testing.T) {
	img := DebianBase("3.12").WithName("a").WithRegistry("h:5000").WithTag("v1").WithPlatforms("linux/amd64").WithAptPackages("git")
	for what, c := range map[string]struct {
		changes Changes
		want    Image
	}{
		"nothing":   {Changes{}, img},
		"registry":  {Changes{Registry: "i:5000"}, img.WithRegistry("i:5000")},
		"name":      {Changes{Name: "b"}, img.WithName("b")},
		"tag":       {Changes{Tag: "v2"}, img.WithTag("v2")},
		"Python":    {Changes{Python: "3.11"}, img.WithPythonVersion("3.11")},
		"platforms": {Changes{Platforms: []string{"linux/arm64"}}, img.WithPlatforms("linux/arm64")},
		"layer":     {Changes{Layer: Workdir{Path: "/srv"}}, img.WithWorkdir("/srv")},
		"base":      {Changes{Base: "debian:12"}, From("debian:12").WithName("a").WithRegistry("h:5000").WithTag("v1").WithPlatforms("linux/amd64").WithAptPackages("git")},
	} {
		got, err := img.Clone(c.changes).YAML()
		want, err2 := c.want.YAML()
		if err != nil || err2 != nil || string(got) != string(want) {
			t.Errorf("%s: got\n%s\nwant\n%s", what, got, want)
		}
	}
}
