package settings

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/moby/buildkit/util/suggest"
	"github.com/pelletier/go-toml/v2"
)

// tomlError says what the decoder says in terms of the file and not of Go's types. target is what was
// decoded into; its type knows the keys. No part of a value is shown.
func tomlError(file string, data []byte, target any, err error) error {
	var unknown *toml.StrictMissingError
	if errors.As(err, &unknown) {
		var errs []error
		for i := range unknown.Errors {
			e := &unknown.Errors[i]
			errs = append(errs, placed(file, data, e, unknownKey(e.Key(), target)))
		}
		return errors.Join(errs...)
	}
	var e *toml.DecodeError
	if !errors.As(err, &e) {
		return &Error{File: file, Msg: "the file is not valid TOML", Err: err}
	}
	msg := strings.TrimPrefix(e.Error(), "toml: ")
	if m := wrongKind().FindStringSubmatch(msg); m != nil {
		key, typ, _ := lookup(e.Key(), target)
		article := "a "
		if strings.ContainsRune("aeiou", rune(m[1][0])) {
			article = "an "
		}
		msg = fmt.Sprintf("%s takes %s; this is %s", keyName(key), kindName(typ), article+m[1])
	}
	return placed(file, data, e, &Error{Msg: msg})
}

var wrongKind = pattern(`^cannot (?:decode TOML|store an?) ([a-z]+(?: [a-z]+)??) (?:into|in) `)

func placed(file string, data []byte, at *toml.DecodeError, e *Error) *Error {
	line, column := at.Position()
	e.File, e.Line, e.Column = file, line, characters(data, line, column)
	return e
}

func unknownKey(key toml.Key, target any) *Error {
	known, typ, _ := lookup(key, target)
	name := strings.Join(key, ".")
	if len(known) < len(key) {
		name = key[len(known)]
	}
	e := &Error{Msg: fmt.Sprintf("unknown key %s", keyName([]string{name}))}
	if len(known) > 0 {
		e.Msg += " in [" + keyName(known) + "]"
	}
	options := keysOf(typ)
	like := strings.ReplaceAll(strings.ToLower(name), "-", "_")
	switch match, ok := suggest.Search(like, options, false); {
	case slices.Contains(options, like):
		e.Hint = "did you mean " + like + "?"
	case ok:
		e.Hint = "did you mean " + match + "?"
	case len(options) > 0:
		e.Hint = "the keys here are " + strings.Join(options, ", ")
	}
	return e
}

// lookup follows a key as far as it is known.
func lookup(key []string, target any) (known []string, typ reflect.Type, ok bool) {
	typ = elem(reflect.TypeOf(target))
	for i, part := range key {
		for typ.Kind() == reflect.Slice {
			typ = elem(typ.Elem())
		}
		switch typ.Kind() {
		case reflect.Map:
			typ = elem(typ.Elem())
		case reflect.Struct:
			f, found := typ.FieldByNameFunc(func(name string) bool {
				f, _ := typ.FieldByName(name)
				return strings.EqualFold(tag(f), part)
			})
			if !found {
				return key[:i], typ, false
			}
			typ = elem(f.Type)
		default:
			return key[:i], typ, false
		}
	}
	return key, typ, true
}

func keysOf(typ reflect.Type) (keys []string) {
	for typ.Kind() == reflect.Slice {
		typ = elem(typ.Elem())
	}
	if typ.Kind() != reflect.Struct {
		return nil
	}
	for i := range typ.NumField() {
		if name := tag(typ.Field(i)); name != "" {
			keys = append(keys, name)
		}
	}
	return keys
}

func tag(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
	if name == "-" {
		return ""
	}
	return name
}

func elem(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number"
	case reflect.Slice:
		return "a list of " + strings.TrimPrefix(kindName(elem(t.Elem())), "a ") + "s"
	default:
		return "a table"
	}
}

var bareKey = pattern(`^[A-Za-z0-9_-]+$`)

// keyName writes a key as TOML does.
func keyName(key []string) string {
	parts := make([]string, len(key))
	for i, k := range key {
		if parts[i] = k; !bareKey().MatchString(k) {
			parts[i] = fmt.Sprintf("%q", redact(k))
		}
	}
	return strings.Join(parts, ".")
}

// characters turns a column in bytes into one in characters.
func characters(data []byte, line, column int) int {
	for ; line > 1; line-- {
		i := slices.Index(data, '\n')
		if i < 0 {
			return column
		}
		data = data[i+1:]
	}
	return utf8.RuneCount(data[:max(0, min(column-1, len(data)))]) + 1
}
