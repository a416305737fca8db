package spec

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/google/shlex"
	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/spec/credential"
)

// Parse reads an image spec. It looks at no other file: [Image.Plan] and [Image.Validate] do. The error
// is source.Errors with everything that is wrong in the text.
func Parse(src source.Source) (Image, error) {
	img, errs := parse(src)
	if len(errs) > 0 && img.marks == nil {
		return Image{}, errs.Err()
	}
	l := &lowering{img: img, src: src, partial: len(errs) > 0}
	l.run()
	errs.Collect(l.findings())
	if err := errs.Err(); err != nil {
		return Image{}, err
	}
	return img, nil
}

// parse reads as much of the spec as can be understood, and complains about the rest.
func parse(src source.Source) (Image, source.Errors) {
	if len(src.Data) > source.SpecLimit {
		return Image{}, source.Errors{{File: src.Name, Msg: fmt.Sprintf("larger than the limit of %d MiB for image specs", source.SpecLimit>>20)}}
	}
	r := &reader{src: src}
	n := r.document()
	if n == nil {
		credential.MaskErrors(r.errs)
		return Image{}, r.errs
	}
	f := &flat{reader: r, img: Image{marks: marks{}}}
	r.mapping(n, "", f.fields(), laterFields())
	if r.nodes >= maxNodes {
		return Image{}, source.Errors{{File: src.Name, Msg: fmt.Sprintf("the spec has more than %d values, aliases counted where they are used", maxNodes)}}
	}
	img := f.image()
	credential.MaskErrors(r.errs)
	return img, r.errs
}

// laterFields are keys of flytekit's ImageSpec, of flyte's Image and of the next version of the spec.
func laterFields() []string {
	return []string{
		"builder", "source_root", "conda_packages", "conda_channels", "cuda", "cudnn", "pip_secret_mounts", "registry_config",
		"tag_format", "source_copy_mode", "python_exec", "runtime_packages", "builder_options", "builder_config",
		"uv_project", "poetry_project", "pixi_project", "dockerfile", "uv_script", "pixi_script", "install_flyte", "shell",
		"ca_certificates", "dockerignore", "from_env", "code_bundle",
	}
}

// flat collects the flat fields; [flat.image] puts what they say into order.
type flat struct {
	*reader
	img                          Image
	workdir, user                Layer
	env, apt, commands           Layer
	pip                          Pip
	layers                       []Layer
	copies                       []Layer
	forSteps                     map[string][]SecretMount // by flat field: the secrets that name it
	indexAt, platform, platforms *yaml.Node
}

func (f *flat) fields() []field {
	r, img := f.reader, &f.img
	f.pip.marks = marks{}
	return []field{
		{"name", f.string(&img.name)},
		{"registry", f.string(&img.registry)},
		{"tag", f.string(&img.tag)},
		{"base_image", f.baseImage},
		{"python_version", f.string(&img.python)},
		{"platform", f.platformText},
		{"platforms", f.platformList},
		{"workdir", func(k, v *yaml.Node) { f.workdir = r.workdir(k, v) }},
		{"env", func(k, v *yaml.Node) { f.env = r.env(k, v) }},
		{"apt_packages", func(k, v *yaml.Node) { f.apt = r.aptList(k, v) }},
		{"packages", f.packages},
		{"requirements", f.requirements},
		{"pip_index", f.pipIndex},
		{"pip_extra_index_url", f.pipExtraIndex},
		{"pip_extra_args", f.pipExtraArgs},
		{"commands", func(k, v *yaml.Node) { f.commands = r.commandList(k, v) }},
		{"layers", f.layerList},
		{"copy", f.copyList},
		{"user", func(k, v *yaml.Node) { f.user = r.user(k, v) }},
		{"entrypoint", func(k, v *yaml.Node) { img.entrypoint = f.command(k, v) }},
		{"cmd", func(k, v *yaml.Node) { img.cmd = f.command(k, v) }},
		{"labels", f.labels},
		{"secrets", f.secrets},
		{"standard_ignores", func(k, v *yaml.Node) { img.allFiles = !r.flag(v, k.Value) }},
		{"allow_plain_credentials", func(k, v *yaml.Node) { img.plainCredentials = r.flag(v, k.Value) }},
	}
}

// image puts the layers into the order that the package documentation has.
func (f *flat) image() Image {
	img := f.img
	add := func(l Layer) {
		if l != nil {
			img.layers = append(img.layers, l)
		}
	}
	add(f.workdir)
	add(f.env)
	if a, ok := f.apt.(Apt); ok {
		a.Secrets = f.forSteps["apt_packages"]
		add(a)
	}
	if f.pip.mark().line > 0 {
		f.pip.Secrets = union(f.forSteps["requirements"], f.forSteps["packages"])
		add(f.pip)
	}
	if c, ok := f.commands.(Commands); ok {
		c.Secrets = f.forSteps["commands"]
		add(c)
	}
	img.layers = append(img.layers, f.layers...)
	img.layers = append(img.layers, f.copies...)
	add(f.user)
	if f.indexAt != nil && f.pip.mark().line == 0 {
		f.fail(f.indexAt, f.indexAt.Value+" has no effect without packages or requirements", "layers have an index_url of their own")
	}
	return img
}

// union is both lists, each secret once.
func union(a, b []SecretMount) []SecretMount {
	out := slices.Clone(a)
	for _, s := range b {
		if !slices.ContainsFunc(out, func(o SecretMount) bool { return o.ID == s.ID }) {
			out = append(out, s)
		}
	}
	return out
}

func (f *flat) string(to *string) func(k, v *yaml.Node) {
	return func(k, v *yaml.Node) {
		s, ok := f.text(v, k.Value)
		if ok && strings.TrimSpace(s) == "" {
			f.fail(v, k.Value+" is empty", "give it a value, or remove the key")
			return
		}
		*to = s
		f.img.marks.set(f.place(v), k.Value)
	}
}

func (f *flat) baseImage(k, v *yaml.Node) {
	if v.Kind == yaml.MappingNode {
		f.fail(v, "base_image: another spec as the base is not supported yet", "build it first and name its image")
		return
	}
	f.string(&f.img.base)(k, v)
	if f.img.base == "debian" {
		f.img.base = ""
	}
}

func (f *flat) platformList(k, v *yaml.Node) {
	f.platforms = k
	list, at := f.texts(v, k.Value)
	if len(list) == 0 && v.Kind == yaml.SequenceNode && len(v.Content) == 0 {
		f.fail(v, "the list of platforms is empty", "")
	}
	f.setPlatforms(list, at)
}

// platformText is flytekit's form: a text with commas.
func (f *flat) platformText(k, v *yaml.Node) {
	f.platform = k
	s, ok := f.text(v, k.Value)
	if !ok {
		return
	}
	list := strings.Split(s, ",")
	at := make([]mark, len(list))
	for i := range list {
		list[i], at[i] = strings.TrimSpace(list[i]), f.place(v)
	}
	f.setPlatforms(list, at)
}

func (f *flat) setPlatforms(list []string, at []mark) {
	if f.platform != nil && f.platforms != nil {
		second := f.platform
		if f.platforms.Line > second.Line {
			second = f.platforms
		}
		f.fail(second, "platform and platforms say the same thing twice", "keep one of them")
		return
	}
	f.img.platforms = list
	f.img.marks.list("platforms", at)
}

func (f *flat) packages(k, v *yaml.Node) {
	list, at := f.texts(v, k.Value)
	if list == nil {
		return
	}
	f.pip.Packages = list
	f.widen(k, v)
	f.pip.marks.list("packages", at)
}

func (f *flat) requirements(k, v *yaml.Node) {
	s, ok := f.text(v, k.Value)
	if !ok {
		return
	}
	f.pip.Requirements = s
	f.widen(k, v)
	f.pip.marks.set(f.place(v), "requirements")
}

// widen makes a field a part of the layer's lines.
func (f *flat) widen(k, v *yaml.Node) {
	f.pip.marks.set(f.pip.mark().hull(f.span(k, v)))
}

func (f *flat) pipIndex(k, v *yaml.Node) {
	f.indexAt = k
	f.pip.IndexURL, _ = f.text(v, k.Value)
	f.pip.marks.set(f.place(v), "index_url")
}

func (f *flat) pipExtraIndex(k, v *yaml.Node) {
	f.indexAt = k
	var at []mark
	f.pip.ExtraIndexURLs, at = f.texts(v, k.Value)
	f.pip.marks.list("extra_index_urls", at)
}

func (f *flat) pipExtraArgs(k, v *yaml.Node) {
	f.indexAt = k
	var at []mark
	f.pip.ExtraArgs, at = f.arguments(v, k.Value)
	f.pip.marks.list("extra_args", at)
}

// arguments is a list, or a text that is parted as a shell would.
func (r *reader) arguments(v *yaml.Node, what string) ([]string, []mark) {
	if v.Kind != yaml.ScalarNode {
		return r.texts(v, what)
	}
	s, ok := r.text(v, what)
	if !ok {
		return nil, nil
	}
	list, err := shlex.Split(s)
	if err != nil {
		r.fail(v, fmt.Sprintf("%s cannot be parted into arguments: %v", what, err), "write a list")
	}
	at := make([]mark, len(list))
	for i := range at {
		at[i] = r.place(v)
	}
	return list, at
}
