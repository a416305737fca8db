package llb

import (
	"maps"
	"slices"
	"strings"

	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
	"google.golang.org/protobuf/proto"
)

// Machine is what a step needs to reach the network from the machine it is built on: package indexes,
// proxies, CA certificates. It reaches the steps as optional secrets, so it is part of no cache key of
// ibuild's, no layer and no history, and it is the same set of names on every machine: two machines with
// different proxies share a builder's cache.
type Machine struct {
	// Env are values of variables out of MachineEnv.
	Env map[string]string
	// Files are contents of files out of MachineFiles, by name; at most 500 kB each (BuildKit's limit for secrets).
	Files map[string][]byte
}

const (
	machineID  = "ibuild.machine/"
	machineDir = "/run/ibuild/machine/"
)

// Names of the files of a Machine.
const (
	MachineCA   = "ca.crt"   // PEM bundle that replaces the image's own
	MachineApt  = "apt.conf" // apt configuration, read by APT_CONFIG
	MachineList = "apt.sources"
)

// MachineFile is the path under which a step sees one of the files.
func MachineFile(name string) string { return machineDir + name }

// MachineEnv lists the variables that a Machine can set.
func MachineEnv() []string {
	return []string{
		"ALL_PROXY", "FTP_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
		"all_proxy", "ftp_proxy", "http_proxy", "https_proxy", "no_proxy",
		"APT_CONFIG", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS",
		"PIP_CERT", "PIP_DEFAULT_TIMEOUT", "PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL", "PIP_TRUSTED_HOST",
		"REQUESTS_CA_BUNDLE", "SSL_CERT_FILE",
		"UV_DEFAULT_INDEX", "UV_HTTP_TIMEOUT", "UV_INDEX", "UV_INSECURE_HOST",
	}
}

func machineFiles() []string { return []string{MachineApt, MachineList, MachineCA} }

// Empty says that the machine needs nothing, so that definitions stay as they are.
func (m Machine) Empty() bool { return len(m.Env) == 0 && len(m.Files) == 0 }

// Secrets are the values that [Machine.Apply] makes steps ask for, by secret id.
func (m Machine) Secrets() map[string][]byte {
	out := map[string][]byte{}
	for k, v := range m.Env {
		out[machineID+k] = []byte(v)
	}
	for k, v := range m.Files {
		out[machineID+k] = v
	}
	return out
}

// WithProxies takes the proxies that a Dockerfile frontend's attributes name (build arguments) in place of the
// machine's. In a definition a builder would keep them, passwords included, in its history of builds.
func (m Machine) WithProxies(attrs map[string]string) Machine {
	env := map[string]string{}
	maps.Copy(env, m.Env)
	for _, upper := range []string{"ALL_PROXY", "FTP_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"} {
		lower := strings.ToLower(upper)
		for _, name := range []string{lower, upper} {
			if v, ok := attrs["build-arg:"+name]; ok {
				env[lower], env[upper] = v, v
			}
		}
	}
	m.Env = env
	return m
}

// Apply returns the definition with the machine's settings within reach of every step that executes
// something. A variable that the step sets by itself stays as it is, unless it names the image's own CA
// bundle ([SystemCA]): the machine's is there instead. The definition given is not changed.
func (m Machine) Apply(def *pb.Definition) (*pb.Definition, error) {
	if m.Empty() {
		return def, nil
	}
	return rewrite(def, func(op *pb.Op) {
		ex := op.GetExec()
		if ex == nil || ex.Meta == nil {
			return
		}
		ex.Meta.ProxyEnv = nil // see WithProxies
		for _, name := range MachineEnv() {
			if _, ca := m.Env[name]; ca {
				ex.Meta.Env = slices.DeleteFunc(ex.Meta.Env, func(kv string) bool { return kv == name+"="+SystemCA })
			}
			if !setsEnv(ex.Meta, name) {
				ex.Secretenv = append(ex.Secretenv, &pb.SecretEnv{ID: machineID + name, Name: name, Optional: true})
			}
		}
		for _, name := range machineFiles() {
			ex.Mounts = append(ex.Mounts, &pb.Mount{
				Input: int64(pb.Empty), Output: int64(pb.SkipOutput), Dest: machineDir + name, MountType: pb.MountType_SECRET,
				SecretOpt: &pb.SecretOpt{ID: machineID + name, Mode: 0o444, Optional: true},
			})
		}
		ex.Meta.RemoveMountStubsRecursive = true
	})
}

func setsEnv(meta *pb.Meta, name string) bool {
	return slices.ContainsFunc(meta.Env, func(kv string) bool { return strings.HasPrefix(kv, name+"=") })
}

// rewrite changes operations of a definition and mends the digests by which they refer to each other.
func rewrite(def *pb.Definition, change func(*pb.Op)) (*pb.Definition, error) {
	out := &pb.Definition{Metadata: make(map[string]*pb.OpMetadata, len(def.Metadata))}
	renamed := make(map[string]string, len(def.Def))
	for _, data := range def.Def { // inputs come first
		op := &pb.Op{}
		if err := proto.Unmarshal(data, op); err != nil {
			return nil, err
		}
		for _, in := range op.Inputs {
			if to, ok := renamed[in.Digest]; ok {
				in.Digest = to
			}
		}
		change(op)
		old := digest.FromBytes(data).String()
		data, err := proto.MarshalOptions{Deterministic: true}.Marshal(op)
		if err != nil {
			return nil, err
		}
		to := digest.FromBytes(data).String()
		renamed[old] = to
		out.Def = append(out.Def, data)
		if m, ok := def.Metadata[old]; ok {
			out.Metadata[to] = m
		}
	}
	if src := def.Source; src != nil {
		locations := make(map[string]*pb.Locations, len(src.Locations))
		for d, l := range src.Locations {
			if to, ok := renamed[d]; ok {
				d = to
			}
			locations[d] = l
		}
		out.Source = &pb.Source{Infos: slices.Clone(src.Infos), Locations: locations}
	}
	return out, nil
}
