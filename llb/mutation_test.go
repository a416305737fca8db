package llb

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// filler sets every field of a message, by its descriptor, so that fields of a later BuildKit are set, too.
type filler struct {
	choice int // which member of a oneof is set
	nth    int // sets other values than another nth
}

func (f filler) fill(m protoreflect.Message, outer ...protoreflect.FullName) {
	outer = append(slices.Clone(outer), m.Descriptor().FullName())
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if o := fd.ContainingOneof(); o != nil && o.Fields().Get(f.choice%o.Fields().Len()) != fd {
			continue
		}
		if fd.Message() != nil && !fd.IsMap() && slices.Contains(outer, fd.Message().FullName()) {
			continue // a message within itself is looked at once
		}
		switch {
		case fd.IsMap():
			m.Mutable(fd).Map().Set(protoreflect.ValueOf("key").MapKey(), f.value(fd.MapValue(), m.Mutable(fd).Map().NewValue(), outer))
		case fd.IsList():
			list := m.Mutable(fd).List()
			for n := range elements(fd) {
				list.Append(filler{n, f.nth + n}.value(fd, list.NewElement(), outer))
			}
		default:
			m.Set(fd, f.value(fd, m.NewField(fd), outer))
		}
	}
}

// elements is how many elements a list gets: one for each member of a oneof in it, and two at least.
func elements(fd protoreflect.FieldDescriptor) int {
	n := 2
	if fd.Message() != nil {
		for i := range fd.Message().Oneofs().Len() {
			n = max(n, fd.Message().Oneofs().Get(i).Fields().Len())
		}
	}
	return n
}

// value fills empty, or returns a scalar of the field's kind.
func (f filler) value(fd protoreflect.FieldDescriptor, empty protoreflect.Value, outer []protoreflect.FullName) protoreflect.Value {
	if fd.Message() != nil {
		f.fill(empty.Message(), outer...)
		return empty
	}
	return scalar(fd, 1+f.nth)
}

// scalar is the nth value of the field's kind.
func scalar(fd protoreflect.FieldDescriptor, n int) protoreflect.Value {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOf(fmt.Sprintf("text %d", n))
	case protoreflect.BytesKind:
		return protoreflect.ValueOf([]byte{0xff, byte(n)})
	case protoreflect.BoolKind:
		return protoreflect.ValueOf(n%2 == 1)
	case protoreflect.EnumKind:
		return protoreflect.ValueOf(fd.Enum().Values().Get(n % fd.Enum().Values().Len()).Number())
	case protoreflect.Int32Kind:
		return protoreflect.ValueOf(int32(n))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOf(int64(n))
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOf(uint32(n))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOf(uint64(n))
	}
	panic(fmt.Sprintf("no value for %s of kind %s", fd.FullName(), fd.Kind()))
}

// none is the scalar that stands for a field that is not there.
func none(fd protoreflect.FieldDescriptor) protoreflect.Value {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOf("")
	case protoreflect.BytesKind:
		return protoreflect.ValueOf([]byte(nil))
	}
	return scalar(fd, 0)
}

// mutator changes one thing of a message after the other, in place, and puts each back.
type mutator struct {
	input digest.Digest // an operation that inputs can be changed to
	see   func(path string)
}

func (u mutator) message(m protoreflect.Message, path string) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		name := path + "." + string(fd.Name())
		switch {
		case fd.IsMap():
			u.mapping(m, fd, name)
		case fd.IsList():
			u.list(m, fd, name)
		case fd.Message() != nil && m.Has(fd):
			u.message(m.Get(fd).Message(), name)
			u.with(m, fd, protoreflect.Value{}, name)
		case fd.Message() != nil:
			u.with(m, fd, m.NewField(fd), name)
		default:
			for _, v := range u.others(fd, m.Get(fd)) {
				u.with(m, fd, v, name)
			}
		}
	}
}

// with shows the message with another value of a field; an invalid one is none.
func (u mutator) with(m protoreflect.Message, fd protoreflect.FieldDescriptor, v protoreflect.Value, path string) {
	was := fd // another member of the same oneof goes when this one is set
	if o := fd.ContainingOneof(); o != nil && m.WhichOneof(o) != nil {
		was = m.WhichOneof(o)
	}
	had, old := m.Has(was), m.Get(was)
	if v.IsValid() {
		m.Set(fd, v)
	} else {
		m.Clear(fd)
	}
	u.see(path)
	m.Clear(fd)
	if had {
		m.Set(was, old)
	}
}

func (u mutator) list(m protoreflect.Message, fd protoreflect.FieldDescriptor, path string) {
	var old []protoreflect.Value
	for i := range m.Get(fd).List().Len() {
		old = append(old, m.Get(fd).List().Get(i))
	}
	set := func(values []protoreflect.Value) {
		l := m.NewField(fd)
		for _, v := range values {
			l.List().Append(v)
		}
		m.Set(fd, l)
	}
	with := func(values []protoreflect.Value, path string) {
		set(values)
		u.see(path)
		set(old)
	}
	if len(old) == 0 {
		v := filler{}.value(fd, m.NewField(fd).List().NewElement(), nil)
		if fd.FullName() == "pb.Op.inputs" {
			v.Message().Interface().(*pb.Input).Digest = u.input.String()
		}
		with([]protoreflect.Value{v}, path)
		m.Clear(fd)
		return
	}
	with(nil, path)
	with(old[1:], path)
	with(append(slices.Clone(old), old[len(old)-1]), path)
	swapped := slices.Clone(old)
	slices.Reverse(swapped)
	with(swapped, path)
	for i, v := range old {
		if fd.Message() != nil {
			u.message(v.Message(), path+"[]")
			continue
		}
		for _, other := range u.others(fd, v) {
			values := slices.Clone(old)
			values[i] = other
			with(values, path+"[]")
		}
	}
}

func (u mutator) mapping(m protoreflect.Message, fd protoreflect.FieldDescriptor, path string) {
	entries := m.Mutable(fd).Map()
	key := func(s string) protoreflect.MapKey { return protoreflect.ValueOf(s).MapKey() }
	var keys []protoreflect.MapKey
	entries.Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
		keys = append(keys, k)
		return true
	})
	for _, k := range keys {
		old, at := entries.Get(k), fmt.Sprintf("%s[%s]", path, k.String())
		entries.Clear(k)
		u.see(at)
		renamed := key(k.String() + ".renamed")
		entries.Set(renamed, old)
		u.see(path)
		entries.Clear(renamed)
		entries.Set(k, old)
		if fd.MapValue().Message() != nil {
			u.message(old.Message(), at)
			continue
		}
		for _, v := range u.others(fd.MapValue(), old) {
			entries.Set(k, v)
			u.see(at)
		}
		entries.Set(k, old)
	}
	more := key("one more")
	entries.Set(more, filler{}.value(fd.MapValue(), entries.NewValue(), nil))
	u.see(path)
	entries.Clear(more)
}

// others are values of a scalar that are not v: every other one of an enumeration, and none.
func (u mutator) others(fd protoreflect.FieldDescriptor, v protoreflect.Value) []protoreflect.Value {
	if fd.FullName() == "pb.Input.digest" {
		return []protoreflect.Value{protoreflect.ValueOf(u.input.String())}
	}
	if fd.FullName() == "pb.SourceOp.identifier" && strings.HasPrefix(v.String(), "local://") {
		return []protoreflect.Value{protoreflect.ValueOf("local://same")} // which holds the same
	}
	if fd.Kind() == protoreflect.StringKind && strings.HasPrefix(v.String(), `["`) {
		return []protoreflect.Value{protoreflect.ValueOf(`["other"]`), protoreflect.ValueOf("")} // patterns stay patterns
	}
	count := 2
	if fd.Kind() == protoreflect.EnumKind {
		count = fd.Enum().Values().Len()
	}
	var list []protoreflect.Value
	for n := range count {
		list = append(list, scalar(fd, n+100*count))
	}
	list = append(list, none(fd))
	return slices.DeleteFunc(list, func(o protoreflect.Value) bool { return o.Equal(v) })
}

// around makes a definition of an operation with the inputs beside it; the operation is what is asked for.
func around(t *testing.T, op *pb.Op, inputs ...*pb.Op) (def *pb.Definition, at digest.Digest) {
	t.Helper()
	def = &pb.Definition{}
	for _, o := range append(slices.Clone(inputs), op) {
		data, err := proto.MarshalOptions{Deterministic: true}.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		def.Def = append(def.Def, data)
		at = digest.FromBytes(data)
	}
	last, err := proto.Marshal(&pb.Op{Inputs: []*pb.Input{{Digest: at.String()}}})
	if err != nil {
		t.Fatal(err)
	}
	def.Def = append(def.Def, last)
	return def, at
}

// identityWith is the identity of a definition that can read a folder with one file.
func identityWith(t *testing.T, def *pb.Definition) digest.Digest {
	t.Helper()
	folder := Local{Files: map[string][]byte{"a": []byte("1")}}
	rec := &Recording{
		Images: []RecordedImage{{Definition: def, Platform: ocispecs.Platform{OS: "linux", Architecture: "amd64"}}},
		locals: map[string]Local{"context": folder, "same": folder},
	}
	return graph(t, rec).Identity()
}
