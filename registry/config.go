package registry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
)

// Config is an image's config as Assemble lets it be edited. Its History and
// RootFS are empty and stay unused: they follow from the layers.
type Config = dockerspec.DockerOCIImage

// object is a JSON object of which only some keys are understood. The values of
// the others are kept as they are.
type object map[string]json.RawMessage

func decodeObject(data []byte) (object, error) {
	o := object{}
	if len(data) == 0 {
		return o, nil
	}
	if err := json.Unmarshal(data, &o); err != nil {
		return nil, err
	}
	if o == nil { // null
		o = object{}
	}
	return o, nil
}

// set replaces the value of key, or removes it if value is nil. Keys that differ
// in case only go too: readers that ignore case (Go's) would see both.
func (o object) set(key string, value json.RawMessage) {
	for k := range o {
		if strings.EqualFold(k, key) {
			delete(o, k)
		}
	}
	if value != nil {
		o[key] = value
	}
}

// get returns the value of key, spelled in any case, as encoding/json would find
// it in a struct.
func (o object) get(key string) json.RawMessage {
	if v, ok := o[key]; ok {
		return v
	}
	for k, v := range o {
		if strings.EqualFold(k, key) {
			return v
		}
	}
	return nil
}

// merge applies to o what differs between before and after.
func (o object) merge(before, after object) {
	for key := range before {
		if _, ok := after[key]; !ok {
			o.set(key, nil)
		}
	}
	for key, value := range after {
		if !bytes.Equal(before[key], value) {
			o.set(key, value)
		}
	}
}

// encode returns v as compact JSON with sorted keys (encoding/json sorts those
// of maps), and without the escapes meant for HTML.
func encode(v any) (json.RawMessage, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// editConfig lets edit change what it understands of an image config; all else
// of it stays.
func editConfig(config object, edit func(*Config) error) error {
	known := object{}
	for key, value := range config {
		if !strings.EqualFold(key, "history") && !strings.EqualFold(key, "rootfs") {
			known[key] = value
		}
	}
	data, err := encode(known)
	if err != nil {
		return err
	}
	var typed Config
	if err := json.Unmarshal(data, &typed); err != nil {
		return fmt.Errorf("the base image's config is malformed: %w", err)
	}
	before, beforeRun, err := fields(typed)
	if err != nil {
		return err
	}
	if err := edit(&typed); err != nil {
		return err
	}
	after, afterRun, err := fields(typed)
	if err != nil {
		return err
	}
	config.merge(before, after)

	run, err := decodeObject(config.get("config"))
	if err != nil {
		return fmt.Errorf("the base image's config is malformed: %w", err)
	}
	run.merge(beforeRun, afterRun)
	if len(run) > 0 || config.get("config") != nil {
		data, err := encode(run)
		if err != nil {
			return err
		}
		config.set("config", data)
	}
	return nil
}

// fields returns the top level of a config, without what Assemble sees to
// itself, and its runtime part.
func fields(typed Config) (top, run object, err error) {
	data, err := encode(typed)
	if err != nil {
		return nil, nil, err
	}
	if top, err = decodeObject(data); err != nil {
		return nil, nil, err
	}
	run, err = decodeObject(top["config"])
	for _, key := range []string{"config", "rootfs", "history"} {
		delete(top, key)
	}
	return top, run, err
}
