package spec

import (
	"fmt"

	"go.yaml.in/yaml/v3"
)

// startFields are the keys that say where the image starts; a spec has at most one of them.
func (f *flat) startFields(t table) []field {
	begin := func(k, v *yaml.Node) bool {
		f.starts = append(f.starts, k)
		f.img.marks.set(f.place(v), k.Value)
		if len(f.starts) > 1 {
			f.fail(k, fmt.Sprintf("%s and %s both say where the image starts", f.starts[0].Value, k.Value), "keep one of them")
			return false
		}
		return true
	}
	with := func(name, doc string, s readable, done func()) field {
		return field{name: name, doc: doc, form: formOf(s), set: func(k, v *yaml.Node) {
			if !begin(k, v) {
				return
			}
			m := f.img.marks
			if own, ok := s.(interface{ place(m marks) }); ok {
				m = marks{}
				m.set(f.place(v))
				own.place(m)
			}
			if f.readInto(s, m, k, v) {
				done()
			}
		}}
	}
	var d dockerfileStart
	var uv scriptStart
	pixi := scriptStart{pixi: true}
	var e environmentStart
	var tf tensorflowStart
	return []field{
		{name: "base_image", doc: `"debian", a reference, the path of another spec (./base.yaml), or a spec`,
			form: eitherForm(textForm(), form{"$ref": "#"}), set: func(k, v *yaml.Node) {
				if begin(k, v) {
					f.baseImage(k, v)
				}
			}},
		with("dockerfile", "a Dockerfile, which says all of the image", &d, func() { f.img.start = d }),
		with("uv_script", "a Python script with a PEP 723 header: its path, or a mapping", &uv, func() { f.img.start = uv }),
		with("pixi_script", "a Python script whose header has [tool.pixi]: its path, or a mapping", &pixi, func() { f.img.start = pixi }),
		with("from_env", "packages in the versions that the caller's Python has", &e, func() { f.img.start = e }),
		with("tensorflow_cloud", "tensorflow_cloud's DockerConfig", &tf, func() { f.img.start = tf }),
	}
}

func (f *flat) baseImage(k, v *yaml.Node) {
	if v.Kind == yaml.MappingNode {
		if img, ok := f.reader.image(v, "base_image"); ok {
			f.img.start = parentStart{image: &img}
		}
		return
	}
	var base string
	table{f.reader, f.img.marks}.text("base_image", "", &base).set(k, v)
	switch {
	case base == "" || base == "debian":
	case isFile(base):
		f.img.start = parentStart{file: base}
	default:
		f.img.start = existing{ref: base}
	}
}
