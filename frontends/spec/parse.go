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
	l := newLowering(img, src, len(errs) > 0)
	if d, ok := img.start.(dockerfileStart); ok {
		_, err := l.planDockerfile(d)
		errs.Collect(err)
		return img, errs.Err()
	}
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
	img, ok := r.image(n, "")
	if !ok {
		return Image{}, source.Errors{{File: src.Name, Msg: fmt.Sprintf("the spec has more than %d values, aliases counted where they are used", maxNodes)}}
	}
	credential.MaskErrors(r.errs)
	img.text = &src
	return img, r.errs
}

// image reads one spec: the document, or one that is nested in another.
func (r *reader) image(n *yaml.Node, what string) (Image, bool) {
	f := &flat{reader: r, img: Image{marks: marks{}}}
	r.mapping(n, what, f.fields())
	return f.image(), r.nodes < maxNodes
}

// flat collects the flat fields; [flat.image] puts what they say into order.
type flat struct {
	*reader
	img                          Image
	workdir, user                Layer
	env, apt, commands           Layer
	pip                          Pip
	conda                        Conda
	layers                       []Layer
	copies                       []Layer
	bundle                       bundle
	starts                       []*yaml.Node        // the keys that say where the image starts
	forSteps                     map[string][]Secret // by flat field: the secrets that name it
	pipSecrets                   []Secret            // pip_secret_mounts
	indexAt, platform, platforms *yaml.Node
	channelsAt                   *yaml.Node
}

// layerField reads a flat field that is one layer; it has the layer's short form only.
func layerField[L Layer, P layerPointer[L]](f *flat, name, doc string, to *Layer) field {
	return field{
		name: name, doc: doc, form: P(new(L)).short(table{marks: marks{}}).form,
		set: func(k, v *yaml.Node) {
			l, m := P(new(L)), f.begin(k, v)
			l.place(m)
			before := len(f.errs)
			l.short(table{f.reader, m}).set(k, v)
			if len(f.errs) == before || v.Kind == yaml.MappingNode {
				*to = *l
			}
		},
	}
}

// fields are all keys of a spec.
func (f *flat) fields() []field {
	img := &f.img
	f.pip.marks, f.conda.marks = marks{}, marks{}
	t := table{f.reader, img.marks}
	p := table{f.reader, f.pip.marks}
	return slices.Concat(f.startFields(t), []field{
		t.text("name", "the image's name in its registry", &img.name),
		t.text("registry", "where it is pushed to: host[:port][/path]", &img.registry),
		t.text("tag", "the tag; absent: one made of the image's identifier", &img.tag),
		t.text("tag_format", "how a tag is made of the identifier, which stands for {spec_hash}", &img.tagFormat),
		t.text("python_version", `X.Y of the Debian base, in quotes: "3.12"`, &img.python),
		t.text("python_exec", "an interpreter of the base image: packages go into a virtual environment that sees its own", &img.pythonExec),
		{name: "platform", doc: "platforms with commas in between, as flytekit writes them", form: textForm(), set: f.platformText},
		{name: "platforms", doc: "platforms that the image is made for", form: listForm(textForm()), set: f.platformList},
		t.texts("ca_certificates", "files with CA certificates that all steps and the image trust", &img.ca),
		layerField[Workdir](f, "workdir", "the working folder", &f.workdir),
		layerField[Env](f, "env", "environment variables; nothing is expanded", &f.env),
		f.platformPackages(),
		layerField[Apt](f, "apt_packages", "Debian packages", &f.apt),
		t.text("cuda", `the CUDA version, in quotes: "12.4"`, &img.cuda),
		t.text("cudnn", `the cuDNN version, in quotes: "9"`, &img.cudnn),
	}, f.condaFields(), []field{
		f.inPip(p.texts("packages", "Python packages: requirements as PEP 508 writes them", &f.pip.Packages)),
		f.inPip(p.raw("requirements", "requirements file (.txt, .in), uv.lock, poetry.lock or pylock.toml", &f.pip.Requirements)),
		f.forPip("pip_index", p.raw("index_url", "the index that replaces PyPI", &f.pip.IndexURL)),
		f.forPip("pip_extra_index_url", p.texts("extra_index_urls", "indexes that are looked at first", &f.pip.ExtraIndexURLs)),
		f.forPip("pip_extra_args", p.arguments("extra_args", "more arguments for uv pip install", &f.pip.ExtraArgs)),
		{name: "pip_secret_mounts", doc: "secrets of the pip step, each [file on this machine, path in the step]", form: listForm(listForm(textForm())), set: f.pipSecretMounts},
		layerField[Commands](f, "commands", "shell commands, one step each", &f.commands),
		{name: "layers", doc: "steps in their order, each with one key", form: listForm(refForm("layer")), set: f.layerList},
		{name: "copy", doc: "files and folders, each to the same path below the workdir", form: listForm(textForm()), set: f.copyList},
	}, f.bundleFields(), []field{
		t.texts("runtime_packages", "Python packages that are installed when the image starts", &img.runtime),
		layerField[User](f, "user", "the user of the image; steps run before it is set", &f.user),
		{name: "entrypoint", doc: "a list, or a text for the shell; [] clears the base's", form: eitherForm(textForm(), listForm(textForm())), set: func(k, v *yaml.Node) { img.entrypoint = f.command(k, v) }},
		{name: "cmd", doc: "a list, or a text for the shell; [] clears the base's", form: eitherForm(textForm(), listForm(textForm())), set: func(k, v *yaml.Node) { img.cmd = f.command(k, v) }},
		t.vars("labels", "labels of the image", "label", "the label", &img.labels),
		{name: "secrets", doc: "secrets that steps may mount", form: listForm(refForm("secret")), set: f.secrets},
		t.text("accelerator", "what the image runs on, for whoever runs it", &img.accelerator),
		t.text("builder", "the builder that makes the image: local, remote or noop", &img.builder),
		t.vars("builder_options", "options of that builder", "option", "the value of", &img.builderOptions),
		{name: "builder_config", doc: "helper images that steps use", form: mappingForm(img.tools.fields(table{marks: marks{}})), set: func(_, v *yaml.Node) {
			f.mapping(v, "builder_config", img.tools.fields(t))
		}},
		t.text("registry_config", "a docker config.json with the credentials to use", &img.registryConfig),
		t.notFlag("standard_ignores", "false brings VCS folders, caches and virtual environments, too", &img.allFiles),
		t.flag("allow_plain_credentials", "lets values pass that look like credentials; they end up in the image", &img.plainCredentials),
	})
}

func (t *Tools) fields(tb table) []field {
	return []field{
		tb.text("uv_image", "the image that holds uv", &t.UVImage),
		tb.text("micromamba_image", "the image that holds micromamba", &t.MicromambaImage),
		tb.text("pixi_image", "the image that holds pixi", &t.PixiImage),
	}
}

// inPip makes a field a part of the pip step's lines.
func (f *flat) inPip(in field) field {
	set := in.set
	in.inLayer = true
	in.set = func(k, v *yaml.Node) {
		before := len(f.errs)
		set(k, v)
		if in.name == "packages" && f.pip.Packages == nil || in.name == "requirements" && len(f.errs) > before {
			return
		}
		f.pip.marks.set(f.pip.mark().hull(f.span(k, v)))
	}
	return in
}

// forPip gives an option of the pip step its flat name.
func (f *flat) forPip(name string, in field) field {
	set := in.set
	in.name, in.inLayer = name, true
	in.set = func(k, v *yaml.Node) {
		f.indexAt = k
		set(k, v)
	}
	return in
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
	f.addConda(&img)
	if f.pip.mark().line > 0 {
		f.pip.Secrets = union(union(f.forSteps["requirements"], f.forSteps["packages"]), f.pipSecrets)
		add(f.pip)
	}
	if c, ok := f.commands.(Commands); ok {
		c.Secrets = f.forSteps["commands"]
		add(c)
	}
	img.layers = append(img.layers, f.layers...)
	img.layers = append(img.layers, f.copies...)
	f.addBundle(&img)
	add(f.user)
	switch s := img.start.(type) {
	case scriptStart:
		s.Secrets = union(s.Secrets, f.forSteps["script"])
		img.start = s
	case environmentStart:
		s.Pip.Secrets = union(s.Pip.Secrets, f.forSteps["from_env"])
		img.start = s
	case dockerfileStart:
		f.refuseFor()
	}
	if img.everywhere.marks != nil {
		img.everywhere.Secrets = union(img.everywhere.Secrets, f.forSteps["platform_packages"])
	}
	if f.indexAt != nil && f.pip.mark().line == 0 {
		f.fail(f.indexAt, f.indexAt.Value+" has no effect without packages or requirements", "layers have an index_url of their own")
	}
	return img
}

// union is both lists, each secret once.
func union(a, b []Secret) []Secret {
	out := slices.Clone(a)
	for _, s := range b {
		if !slices.ContainsFunc(out, func(o Secret) bool { return o.ID == s.ID }) {
			out = append(out, s)
		}
	}
	return out
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
