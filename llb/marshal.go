package llb

import (
	"bytes"
	"context"
	"maps"
	"slices"

	bk "github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
)

// marshal is what State.Marshal and Definition.ToPB of BuildKit make of a state, byte for byte. They write the
// metadata of each operation four times, into maps of their own; this takes what the operation answers as it is.
// A state without any operation makes an empty definition. About how many operations there are is for the room that
// is made beforehand only.
func marshal(ctx context.Context, st bk.State, about int, opts ...bk.ConstraintsOpt) (*pb.Definition, error) {
	out, c := st.Output(), bk.NewConstraints(opts...)
	if out == nil || out.Vertex(ctx, c) == nil {
		return &pb.Definition{}, nil
	}
	m := marshaller{constraints: c, done: make(map[bk.Vertex]bool, about), texts: map[*bk.SourceMap]int32{}, def: &pb.Definition{
		Def:      make([][]byte, 0, about),
		Metadata: make(map[string]*pb.OpMetadata, about),
		Source:   &pb.Source{Locations: make(map[string]*pb.Locations, about)},
	}}
	if err := m.add(ctx, out.Vertex(ctx, c)); err != nil {
		return nil, err
	}
	return m.def, m.end(ctx, out)
}

// marshaller collects one definition. It is for one state and one set of constraints: what operations answer is
// made for it, and so are the maps that it changes.
type marshaller struct {
	constraints *bk.Constraints
	def         *pb.Definition
	done        map[bk.Vertex]bool
	texts       map[*bk.SourceMap]int32 // index among the definition's infos
}

// add writes an operation after those that it depends on. Two vertices may be the same operation.
func (m *marshaller) add(ctx context.Context, v bk.Vertex) error {
	if m.done[v] {
		return nil
	}
	for _, in := range v.Inputs() {
		if err := m.add(ctx, in.Vertex(ctx, m.constraints)); err != nil {
			return err
		}
	}
	dgst, data, meta, places, err := v.Marshal(ctx, m.constraints)
	if err != nil {
		return err
	}
	m.done[v] = true
	key := string(dgst)
	locations, again := m.def.Source.Locations[key]
	if !again {
		m.def.Def = append(m.def.Def, data)
		locations = &pb.Locations{}
		m.def.Source.Locations[key] = locations
	}
	if other, ok := m.def.Metadata[key]; ok {
		join(other, meta)
	} else {
		m.def.Metadata[key] = meta
	}
	for _, p := range places {
		locations.Locations = append(locations.Locations, &pb.Location{SourceIndex: m.text(p.SourceMap), Ranges: p.Ranges})
	}
	return nil
}

// join adds what a second vertex says about the same operation; its name is the one that is shown. Steps set no
// other metadata than these.
func join(meta, other *pb.OpMetadata) {
	meta.IgnoreCache = meta.IgnoreCache || other.IgnoreCache
	if meta.Description == nil {
		meta.Description = map[string]string{}
	}
	maps.Copy(meta.Description, other.Description)
	maps.Copy(meta.Caps, other.Caps)
}

// text is the index of a source text, which is added when it is new.
func (m *marshaller) text(s *bk.SourceMap) int32 {
	if i, ok := m.texts[s]; ok {
		return i
	}
	infos := m.def.Source.Infos
	i := slices.IndexFunc(infos, func(f *pb.SourceInfo) bool {
		return f.Filename == s.Filename && f.Language == s.Language && bytes.Equal(f.Data, s.Data)
	})
	if i < 0 {
		i = len(infos)
		m.def.Source.Infos = append(infos, &pb.SourceInfo{Data: s.Data, Filename: s.Filename, Language: s.Language})
	}
	m.texts[s] = int32(i)
	return m.texts[s]
}

// end writes what the definition is of: the output of the last operation.
func (m *marshaller) end(ctx context.Context, out bk.Output) error {
	in, err := out.ToInput(ctx, m.constraints)
	if err != nil {
		return err
	}
	data, err := (&pb.Op{Inputs: []*pb.Input{in}}).MarshalVT()
	if err != nil {
		return err
	}
	m.def.Def = append(m.def.Def, data)
	caps := map[string]bool{string(pb.CapConstraints): true, string(pb.CapPlatform): true}
	for _, meta := range m.def.Metadata {
		if meta.IgnoreCache {
			caps[string(pb.CapMetaIgnoreCache)] = true
		}
		if meta.Description != nil {
			caps[string(pb.CapMetaDescription)] = true
		}
	}
	m.def.Metadata[string(digest.FromBytes(data))] = &pb.OpMetadata{Caps: caps}
	return nil
}
