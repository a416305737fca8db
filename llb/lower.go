package llb

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	bk "github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/solver/errdefs"
	"github.com/moby/buildkit/solver/pb"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// lowering turns the steps of one Image into one graph for one platform.
type lowering struct {
	img      *Image
	opt      Options
	platform ocispecs.Platform
	forImage bk.ConstraintsOpt // platform, as operations take it
	empty    bk.State
	client   gateway.Client
	sources  []*bk.SourceMap
	config   *Config
	around   *bk.State // what config says of steps; nil when config has changed since
	state    tree
	native   *ocispecs.Platform // the builder's own, where native steps run; nil when all are emulated
	tools    map[tool]bk.State  // images that are mounted
}

// tool is a mounted image for one of the two platforms that steps run on.
type tool struct{ ref, architecture string }

func (img *Image) lower(ctx context.Context, c gateway.Client, p ocispecs.Platform, opt Options) (*lowering, error) {
	l := &lowering{img: img, opt: opt, platform: p, forImage: bk.Platform(p), empty: bk.Scratch(), client: c, tools: map[tool]bk.State{}}
	for _, f := range img.Sources {
		l.sources = append(l.sources, bk.NewSourceMap(nil, f.Name, f.Language, f.Data))
	}
	if err := l.base(ctx); err != nil {
		return nil, l.img.at(img.Base.Lines, err)
	}
	l.startTwin(ctx)
	for i := 0; i < len(img.Steps); {
		n, err := l.next(ctx, img.Steps[i:])
		if err != nil {
			return nil, l.img.at(img.Steps[i].lines(), err)
		}
		i += n
	}
	return l, nil
}

// at ties an error to the place in the source that asked for what failed.
func (img *Image) at(where Lines, err error) error {
	if where.First == 0 || where.File >= len(img.Sources) || len(errdefs.Sources(err)) > 0 {
		return err
	}
	f := img.Sources[where.File]
	return errdefs.WithSource(err, &errdefs.Source{
		Info:   &pb.SourceInfo{Filename: f.Name, Language: f.Language, Data: f.Data},
		Ranges: where.ranges(),
	})
}

func (l *lowering) base(ctx context.Context) (err error) {
	ref := l.img.Base.Ref
	if ref == "" || ref == "scratch" {
		l.state.State = l.empty.Platform(l.platform)
		l.config, err = ParseConfig(nil, l.platform)
		return err
	}
	st, config, err := l.image(ctx, ref, "base image", l.platform)
	if other := l.img.Base.Fallback; other != "" && cerrdefs.IsNotFound(err) {
		if err := l.client.Warn(ctx, "", l.img.Base.FallbackWarning, gateway.WarnOpts{Level: 1}); err != nil {
			return err
		}
		st, config, err = l.image(ctx, other, "base image", l.platform)
	}
	if err != nil {
		return err
	}
	l.state.State = st
	l.config, err = ParseConfig(config, l.platform)
	return err
}

// image resolves a reference to a digest, so that what was resolved is what is pulled.
func (l *lowering) image(ctx context.Context, ref, what string, p ocispecs.Platform) (bk.State, []byte, error) {
	_, dgst, config, err := l.client.ResolveImageConfig(ctx, ref, sourceresolver.Opt{
		LogName:  "[internal] resolve " + what + " " + ref,
		ImageOpt: &sourceresolver.ResolveImageOpt{Platform: &p},
	})
	if err != nil {
		return bk.State{}, nil, fmt.Errorf("%s %s: %w", what, ref, err)
	}
	if i := strings.IndexByte(ref, '@'); i < 0 {
		ref += "@" + dgst.String()
	}
	return imageState(ref, p, what+" "+ref), config, nil
}

// next lowers the first step, or a group of steps that run side by side, and says how many it took.
func (l *lowering) next(ctx context.Context, steps []Step) (int, error) {
	if n := l.group(steps); n > 0 {
		return n, l.sideBySide(ctx, steps[:n])
	}
	s := steps[0]
	w, isWorkdir := s.(Workdir)
	drop := isWorkdir && !l.config.Makes(w)
	if !drop {
		st, err := l.step(ctx, l.state, s)
		if err != nil {
			return 0, err
		}
		l.state = st
	}
	l.config.Apply(s, l.opt.Epoch)
	switch s.(type) {
	case Env, PathPrepend, Workdir:
		l.around = nil
	}
	if drop {
		l.config.DropLayer()
	}
	return 1, nil
}

// group counts the leading steps that may run side by side: OS packages and wheels, when the base has
// the Python and a virtual environment takes the wheels. Wheels run no code of theirs while they are
// installed and go below the virtual environment, where no OS package puts anything.
func (l *lowering) group(steps []Step) int {
	if _, venv := l.config.Env("VIRTUAL_ENV"); !venv || !l.img.Base.Python {
		return 0
	}
	n := slices.IndexFunc(steps, func(s Step) bool {
		e, ok := s.(Exec)
		return !ok || e.Kind != Packages && e.Kind != WheelsOnly
	})
	if n < 0 {
		n = len(steps)
	}
	packages, wheels := byKind(steps[:n])
	if len(packages) == 0 || len(wheels) == 0 {
		return 0
	}
	return n
}

func byKind(steps []Step) (packages, wheels []Step) {
	for _, s := range steps {
		if s.(Exec).Kind == Packages {
			packages = append(packages, s)
		} else {
			wheels = append(wheels, s)
		}
	}
	return packages, wheels
}

func (l *lowering) sideBySide(ctx context.Context, steps []Step) error {
	start := l.state
	parts, ends := []bk.State{start.State}, []bk.State{}
	packages, wheels := byKind(steps)
	for _, branch := range [][]Step{packages, wheels} {
		end := start
		for _, s := range branch {
			var err error
			if end, err = l.step(ctx, end, s); err != nil {
				return l.img.at(s.lines(), err)
			}
			l.config.Apply(s, l.opt.Epoch)
		}
		parts = append(parts, bk.Diff(start.State, end.State, bk.Platform(l.platform)))
		ends = append(ends, end.State)
	}
	joined := bk.Merge(parts, bk.Platform(l.platform), bk.WithCustomName("join OS packages and wheels"))
	l.state = l.follow(start, joined, ends...)
	return nil
}

func (l *lowering) step(ctx context.Context, t tree, s Step) (tree, error) {
	switch s := s.(type) {
	case Exec:
		return l.run(ctx, t, s)
	case Copy:
		return l.follow(t, l.copy(t.State, s)), nil
	case WriteFile:
		return l.follow(t, t.File(l.writeFile(s), l.constraints(Title(s), s.Lines)...)), nil
	case Workdir:
		dir := l.config.Abs(s.Path)
		return l.follow(t, t.File(bk.Mkdir(dir, 0o755, bk.WithParents(true), l.created()), l.constraints(Title(s), s.Lines)...)), nil
	}
	return t, nil // the rest is config only
}

func (l *lowering) writeFile(s WriteFile) *bk.FileAction {
	dst, mode := l.config.Abs(s.Dst), os.FileMode(s.Mode)
	if mode == 0 {
		mode = 0o644
	}
	dir := path.Dir(dst)
	if dir == "/" {
		return bk.Mkfile(dst, mode, s.Data, l.created())
	}
	return bk.Mkdir(dir, 0o755, bk.WithParents(true), l.created()).Mkfile(dst, mode, s.Data, l.created())
}

func (l *lowering) created() bk.CreatedTime { return bk.WithCreatedTime(CodeTime(l.opt.Epoch)) }

func (l *lowering) constraints(title string, at Lines) []bk.ConstraintsOpt {
	opts := []bk.ConstraintsOpt{l.forImage, bk.WithCustomName(l.opt.prefix(l.platform) + title)}
	if r := at.ranges(); r != nil && at.File < len(l.sources) {
		opts = append(opts, l.sources[at.File].Location(r))
	}
	if l.opt.NoCache {
		opts = append(opts, bk.IgnoreCache)
	}
	return opts
}

func (l *lowering) copy(st bk.State, s Copy) bk.State {
	t := CodeTime(l.opt.Epoch)
	info := &bk.CopyInfo{
		Mode:                &bk.ChmodOpt{ModeStr: "u=rwX,go=rX"},
		CopyDirContentsOnly: s.Dir,
		CreateDestPath:      true,
		CreatedTime:         &t,
	}
	opts := []bk.CopyOption{info}
	if s.Owner != "" {
		opts = append(opts, bk.WithUser(s.Owner))
	}
	src := localState(s.Local, s.rules(), l.opt.prefix(l.platform)+"read "+s.Src)
	dst := l.config.Abs(s.Dst)
	if s.Dir {
		dst += "/"
	}
	return st.File(bk.Copy(src, path.Join("/", s.Src), dst, opts...), l.constraints(Title(s), s.Lines)...)
}

func (l *lowering) exec(ctx context.Context, st bk.State, s Exec, on ocispecs.Platform) (bk.State, error) {
	opts := make([]bk.RunOption, 0, len(s.Env)+len(s.Mounts)+8)
	env, args := s.Env, s.Args
	if _, venv := l.config.Env("VIRTUAL_ENV"); s.SystemPython && !venv {
		env = append(slices.Clone(env), "UV_SYSTEM_PYTHON=1", "UV_BREAK_SYSTEM_PACKAGES=1")
		args = inSystemPython(args)
	}
	opts = append(opts, bk.Args(args))
	for _, kv := range env {
		k, v, _ := strings.Cut(kv, "=")
		opts = append(opts, bk.AddEnv(k, v))
	}
	user := l.config.img.Config.User
	if s.Root {
		user = "0:0"
	}
	if user != "" {
		opts = append(opts, bk.User(user))
	}
	for _, m := range s.Mounts {
		o, err := l.mount(ctx, m, on)
		if err != nil {
			return st, err
		}
		opts = append(opts, o)
	}
	for _, c := range l.constraints(s.Title, s.Lines) {
		opts = append(opts, c)
	}
	if on.Architecture != l.platform.Architecture {
		opts = append(opts, bk.Platform(on))
	}
	return l.surroundings().WithOutput(st.Output()).Run(opts...).Root(), nil
}

// surroundings are the folder and the environment that a step finds. They are said once for all steps that find the
// same ones: BuildKit looks for each setting in all that was ever said of a state.
func (l *lowering) surroundings() bk.State {
	if l.around != nil {
		return *l.around
	}
	around := l.empty.Dir(l.config.Workdir())
	for _, kv := range l.config.img.Config.Env {
		k, v, _ := strings.Cut(kv, "=")
		around = around.AddEnv(k, v)
	}
	if _, ok := l.config.Env("PATH"); !ok {
		around = around.AddEnv("PATH", defaultPath)
	}
	l.around = &around
	return around
}

func (l *lowering) mount(ctx context.Context, m Mount, on ocispecs.Platform) (bk.RunOption, error) {
	switch m.Kind {
	case CacheMount:
		id := l.opt.CacheNamespace + m.ID
		if m.PerPlatform {
			id += "/" + platforms.Format(l.platform)
		}
		sharing := bk.CacheMountShared
		if m.Locked {
			sharing = bk.CacheMountLocked
		}
		return bk.AddMount(m.Target, l.empty, bk.AsPersistentCacheDir(id, sharing)), nil
	case ImageMount:
		key := tool{m.Ref, on.Architecture}
		st, ok := l.tools[key]
		if !ok {
			var err error
			ref := cmp.Or(l.img.Tools[m.Ref], m.Ref)
			if st, _, err = l.image(ctx, ref, "tool image", on); err != nil {
				return nil, err
			}
			l.tools[key] = st
		}
		return bk.AddMount(m.Target, st, bk.SourcePath(m.Source), bk.Readonly), nil
	case DataMount:
		name := path.Base(m.Target)
		st := l.empty.File(bk.Mkfile("/"+name, 0o644, m.Data, l.created()),
			l.forImage, bk.WithCustomName("[internal] "+name))
		return bk.AddMount(m.Target, st, bk.SourcePath("/"+name), bk.Readonly), nil
	case LocalMount:
		st := localState(m.Local, rulesFor(m.Source, !m.File, m.Exclude), "read "+m.Source)
		writes := bk.Readonly
		if m.Scratch {
			writes = bk.ForceNoOutput
		}
		return bk.AddMount(m.Target, st, bk.SourcePath(path.Join("/", m.Source)), writes), nil
	case SecretMount:
		return secret(m), nil
	}
	return nil, fmt.Errorf("unknown kind of mount %d at %s", m.Kind, m.Target)
}

func secret(m Mount) bk.RunOption {
	opts := []bk.SecretOption{bk.SecretID(m.ID)}
	if m.Optional {
		opts = append(opts, bk.SecretOptional)
	}
	if m.Env != "" {
		return bk.AddSecret(m.Env, append(opts, bk.SecretAsEnv(true), bk.SecretAsEnvName(m.Env))...)
	}
	mode := m.Mode
	if mode == 0 {
		mode = 0o400
	}
	return bk.AddSecret(m.Target, append(opts, bk.SecretFileOpt(m.UID, m.GID, mode))...)
}
