package spec

import (
	"encoding/json"
)

// SchemaURL is the identifier of the schema of image specs.
const SchemaURL = "https://ibuild.dev/schema/image.json"

// Schema returns the JSON Schema (2020-12) of image specs, for editors that complete and check YAML. It is
// made of the same tables that read and write specs.
func Schema() ([]byte, error) {
	f := &flat{reader: &reader{}, img: Image{marks: marks{}}}
	var secret Secret
	t := table{marks: marks{}}
	withFor := append(secret.fields(t), f.forField(marks{}, new([]string)))
	schema := mappingForm(f.fields())
	schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	schema["$id"] = SchemaURL
	schema["title"] = "ibuild image spec"
	schema["$defs"] = map[string]form{
		"layer":       layerForm(),
		"secret":      eitherForm(textForm(), mappingForm(withFor)),
		"secretMount": eitherForm(textForm(), mappingForm(secret.mountFields(t))),
	}
	data, err := json.MarshalIndent(schema, "", "  ")
	return append(data, '\n'), err
}
