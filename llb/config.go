package llb

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path"
	"strings"
	"time"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// defaultPath is what a shell gets when an image names no PATH, as BuildKit has it.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Config is an image config that steps change. It starts as the base's config. Not safe for concurrent use.
type Config struct{ img *dockerspec.DockerOCIImage }

// EditConfig lets steps change img itself.
func EditConfig(img *dockerspec.DockerOCIImage) *Config { return &Config{img: img} }

// ParseConfig reads a base image's config; no bytes make the config of the empty image. ONBUILD triggers
// are dropped: a spec never runs commands that it does not show. So is the base's own identity: an image on
// top of another is not that other one.
func ParseConfig(data []byte, platform ocispecs.Platform) (*Config, error) {
	c := &Config{img: &dockerspec.DockerOCIImage{}}
	if len(data) > 0 {
		if err := json.Unmarshal(data, c.img); err != nil {
			return nil, fmt.Errorf("image config: %w", err)
		}
	} else {
		c.img.RootFS.Type = "layers"
	}
	c.img.Platform = platform
	c.img.Config.OnBuild = nil
	c.unsetEnv(ImageIDVariable)
	return c, nil
}

// Marshal returns the config as JSON, the same bytes for the same content.
func (c *Config) Marshal() ([]byte, error) { return json.Marshal(c.img) }

// Env is the value of an environment variable of the image and whether it is set.
func (c *Config) Env(key string) (string, bool) {
	for _, kv := range c.img.Config.Env {
		if k, v, _ := strings.Cut(kv, "="); k == key {
			return v, true
		}
	}
	return "", false
}

// Workdir is the image's working folder, absolute; "/" when it names none.
func (c *Config) Workdir() string { return path.Join("/", c.img.Config.WorkingDir) }

// Abs makes a path of a step absolute: relative ones start at the workdir.
func (c *Config) Abs(p string) string {
	if path.IsAbs(p) {
		return path.Clean(p)
	}
	return path.Join(c.Workdir(), p)
}

// Makes says whether a Workdir step has to make its folder: not when a step before it did, and not when it
// is the workdir already.
func (c *Config) Makes(w Workdir) bool { return !w.Exists && c.Abs(w.Path) != c.Workdir() }

// Apply does what a step means for the config. A step that makes a layer gets a history entry, with epoch
// as its time when there is one; whoever makes no layer for it calls [Config.DropLayer].
func (c *Config) Apply(s Step, epoch *time.Time) {
	cfg := &c.img.Config
	switch s := s.(type) {
	case Env:
		c.setEnv(s.Key, s.Value)
	case PathPrepend:
		old, ok := c.Env("PATH")
		if !ok || old == "" {
			old = defaultPath
		}
		c.setEnv("PATH", s.Dir+":"+old)
	case Workdir:
		cfg.WorkingDir = c.Abs(s.Path)
	case User:
		cfg.User = s.Name
	case Entrypoint:
		cfg.Entrypoint, cfg.Cmd = nonEmpty(s.Args), nil
	case Cmd:
		cfg.Cmd = nonEmpty(s.Args)
	case Shell:
		cfg.Shell = s.Args
	case Label:
		if cfg.Labels == nil {
			cfg.Labels = map[string]string{}
		}
		cfg.Labels[s.Key] = s.Value
	}
	if title := Title(s); title != "" {
		c.img.History = append(c.img.History, ocispecs.History{Created: epoch, CreatedBy: title, Comment: "ibuild"})
	}
}

// DropLayer takes the newest history entry back.
func (c *Config) DropLayer() { c.img.History = c.img.History[:len(c.img.History)-1] }

// SetCreated sets the image's time; nil leaves it to the builder.
func (c *Config) SetCreated(t *time.Time) { c.img.Created = t }

// Title is what progress and history call the layer of a step; "" for steps that never make one.
func Title(s Step) string {
	switch s := s.(type) {
	case Exec:
		return s.Title
	case Copy:
		return cmp.Or(s.Title, "copy: "+s.Src+" to "+s.Dst)
	case WriteFile:
		return cmp.Or(s.Title, "write: "+s.Dst)
	case Workdir:
		return "workdir: " + s.Path
	}
	return ""
}

func (c *Config) setEnv(key, value string) {
	for i, kv := range c.img.Config.Env {
		if k, _, _ := strings.Cut(kv, "="); k == key {
			c.img.Config.Env[i] = key + "=" + value
			return
		}
	}
	c.img.Config.Env = append(c.img.Config.Env, key+"="+value)
}

func nonEmpty(args []string) []string {
	if len(args) == 0 {
		return nil
	}
	return args
}
