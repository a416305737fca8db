package llb

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
)

// opParts takes an operation apart into what people know it by. What is in none of the parts is still in the
// step's own digest, so that a change of it is seen without its name.
func opParts(op *pb.Op) (StepKind, []Part) {
	switch {
	case op.GetSource() != nil:
		return sourceParts(op.GetSource())
	case op.GetExec() != nil:
		return StepRun, execParts(op.GetExec())
	case op.GetFile() != nil:
		return StepFiles, fileParts(op.GetFile())
	case op.GetMerge() != nil:
		return StepJoin, []Part{{What: "join", Value: "merge"}}
	case op.GetDiff() != nil:
		return StepJoin, []Part{{What: "join", Value: "difference"}}
	}
	return StepOther, nil
}

func sourceParts(src *pb.SourceOp) (StepKind, []Part) {
	scheme, rest, _ := strings.Cut(src.Identifier, "://")
	var list []Part
	kind := StepFetch
	switch scheme {
	case "docker-image":
		name, at, _ := strings.Cut(rest, "@")
		kind, list = StepImage, []Part{{What: "image", Value: name}, {What: "digest", Value: at}}
	case "local":
		kind = StepLocal
	default:
		list = []Part{{What: "address", Value: src.Identifier}}
	}
	names := map[string]string{
		pb.AttrIncludePatterns: "included files", pb.AttrExcludePatterns: "excluded files", pb.AttrFollowPaths: "files that are read",
		pb.AttrHTTPChecksum: "checksum", pb.AttrGitChecksum: "commit",
	}
	for _, k := range slices.Sorted(maps.Keys(src.Attrs)) {
		what, ok := names[k]
		switch {
		case k == "ibuild.files": // see canonicalizer; the list of files says more
		case ok:
			list = append(list, Part{What: what, Value: src.Attrs[k]})
		default:
			list = append(list, Part{What: "option", Name: k, Value: src.Attrs[k]})
		}
	}
	return kind, list
}

func execParts(ex *pb.ExecOp) []Part {
	meta := ex.GetMeta()
	list := commandParts(meta.GetArgs())
	list = append(list, envParts(meta.GetEnv())...)
	add := func(what, name, value string) {
		if value != "" {
			list = append(list, Part{What: what, Name: name, Value: value})
		}
	}
	add("folder", "", meta.GetCwd())
	add("user", "", meta.GetUser())
	add("host name", "", meta.GetHostname())
	for _, h := range meta.GetExtraHosts() {
		add("host", h.Host, h.IP)
	}
	if ex.Network != pb.NetMode_UNSET {
		add("network", "", strings.ToLower(ex.Network.String()))
	}
	if ex.Security != pb.SecurityMode_SANDBOX {
		add("security", "", strings.ToLower(ex.Security.String()))
	}
	for _, s := range ex.Secretenv {
		add("secret variable", s.Name, "secret "+s.ID+optional(s.Optional))
	}
	for _, m := range ex.Mounts {
		if m.Dest != pb.RootMount {
			add("mount", m.Dest, mountText(m))
		}
	}
	return list
}

// commandParts keeps a shell, its script and what the script is given apart.
func commandParts(args []string) []Part {
	script := 1 + slices.IndexFunc(args, func(a string) bool { return strings.HasPrefix(a, "-") && strings.HasSuffix(a, "c") })
	if script < 2 || script >= len(args) || !strings.HasSuffix(args[0], "sh") {
		return []Part{{What: "command", Value: words(args)}}
	}
	list := []Part{{What: "command", Value: args[script]}, {What: "shell", Value: words(args[:script])}}
	if rest := args[script+1:]; len(rest) > 0 {
		list = append(list, Part{What: "arguments", Value: words(rest)})
	}
	return list
}

// words joins arguments so that it can be seen where each of them ends.
func words(args []string) string {
	var list []string
	for _, a := range args {
		if a == "" || strings.ContainsAny(a, " \t\n\"'\\") {
			a = strconv.Quote(a)
		}
		list = append(list, a)
	}
	return strings.Join(list, " ")
}

func mountText(m *pb.Mount) string {
	switch m.MountType {
	case pb.MountType_SECRET:
		s := m.GetSecretOpt()
		return fmt.Sprintf("secret %s, mode %04o, owner %d:%d%s", s.GetID(), s.GetMode(), s.GetUid(), s.GetGid(), optional(s.GetOptional()))
	case pb.MountType_SSH:
		return "ssh " + m.GetSSHOpt().GetID() + optional(m.GetSSHOpt().GetOptional())
	case pb.MountType_CACHE:
		return "cache"
	case pb.MountType_TMPFS:
		return fmt.Sprintf("in memory, size %d", m.GetTmpfsOpt().GetSize())
	}
	text := "files"
	if m.Selector != "" && m.Selector != "/" {
		text += " of " + m.Selector
	}
	if m.Readonly {
		text += ", read-only"
	}
	return text
}

func optional(yes bool) string {
	if yes {
		return ", optional"
	}
	return ""
}

func fileParts(op *pb.FileOp) []Part {
	var list []Part
	for i, a := range op.Actions {
		name := ""
		if len(op.Actions) > 1 {
			name = strconv.Itoa(i + 1)
		}
		list = append(list, Part{What: "action", Name: name, Value: actionText(a)})
	}
	return list
}

// actionText describes a file action. The bytes of a written file are there by size and digest only.
func actionText(a *pb.FileAction) string {
	switch {
	case a.GetCopy() != nil:
		c := a.GetCopy()
		text := "copy " + c.Src + " to " + c.Dest
		if c.Mode >= 0 || c.ModeStr != "" {
			text += ", mode " + modeText(c.Mode, c.ModeStr)
		}
		if len(c.IncludePatterns) > 0 {
			text += ", only " + words(c.IncludePatterns)
		}
		if len(c.ExcludePatterns) > 0 {
			text += ", without " + words(c.ExcludePatterns)
		}
		return text + ownerText(c.Owner) + timeText(c.Timestamp)
	case a.GetMkfile() != nil:
		f := a.GetMkfile()
		return fmt.Sprintf("write %s, %d bytes (%s), mode %04o", f.Path, len(f.Data), digest.FromBytes(f.Data).Encoded()[:12], f.Mode) + ownerText(f.Owner) + timeText(f.Timestamp)
	case a.GetMkdir() != nil:
		d := a.GetMkdir()
		return fmt.Sprintf("make the folder %s, mode %04o", d.Path, d.Mode) + ownerText(d.Owner) + timeText(d.Timestamp)
	case a.GetRm() != nil:
		return "remove " + a.GetRm().Path
	case a.GetSymlink() != nil:
		l := a.GetSymlink()
		return "link " + l.Newpath + " to " + l.Oldpath + ownerText(l.Owner) + timeText(l.Timestamp)
	}
	return "another action"
}

func modeText(mode int32, text string) string {
	if text != "" {
		return text
	}
	return fmt.Sprintf("%04o", mode)
}

func ownerText(o *pb.ChownOpt) string {
	if o == nil {
		return ""
	}
	return ", owner " + userText(o.User) + ":" + userText(o.Group)
}

func userText(u *pb.UserOpt) string {
	switch {
	case u == nil:
		return ""
	case u.GetByName() != nil:
		return u.GetByName().GetName()
	}
	return strconv.FormatUint(uint64(u.GetByID()), 10)
}

// timeText names a time only where one is set: most files have ibuild's constant.
func timeText(ns int64) string {
	if ns < 0 || ns == codeTime.UnixNano() {
		return ""
	}
	return fmt.Sprintf(", time %d", ns/1e9)
}

// opCopies lists what a file operation takes of those inputs that it does nothing else with.
func opCopies(op *pb.Op) []OutlineCopy {
	file := op.GetFile()
	if file == nil {
		return nil
	}
	paths, other := map[int64][]string{}, map[int64]bool{}
	for _, a := range file.Actions {
		other[a.Input] = true
		if c := a.GetCopy(); c != nil {
			paths[a.SecondaryInput] = append(paths[a.SecondaryInput], c.Src)
		}
	}
	var list []OutlineCopy
	for _, i := range slices.Sorted(maps.Keys(paths)) {
		if i >= 0 && i < int64(len(op.Inputs)) && !other[i] {
			list = append(list, OutlineCopy{Input: int(i), Paths: paths[i]})
		}
	}
	return list
}
