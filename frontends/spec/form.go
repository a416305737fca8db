package spec

// form is the form of a value as a JSON Schema (2020-12) has it.
type form map[string]any

// textForm is a text; YAML's numbers and flags are taken as they are written.
func textForm() form { return form{"type": []string{"string", "number", "boolean"}} }

func flagForm() form { return form{"type": "boolean"} }

func listForm(item form) form { return form{"type": "array", "items": item} }

func varsForm() form { return form{"type": "object", "additionalProperties": textForm()} }

func enumForm(values ...string) form { return form{"enum": values} }

func eitherForm(forms ...form) form { return form{"anyOf": forms} }

// refForm refers to one of the schema's definitions.
func refForm(name string) form { return form{"$ref": "#/$defs/" + name} }

// mappingForm is a mapping with these keys and no others.
func mappingForm(fields []field) form {
	properties := map[string]form{}
	for _, f := range fields {
		properties[f.name] = f.described()
	}
	return form{"type": "object", "properties": properties, "additionalProperties": false}
}

// described is the form of a field's value, with its documentation.
func (f field) described() form {
	if f.doc == "" {
		return f.form
	}
	out := form{"description": f.doc}
	for k, v := range f.form {
		out[k] = v
	}
	return out
}

// formOf is what a layer may look like: its mapping, or its short form.
func formOf(l readable) form {
	t := table{marks: marks{}}
	short, fields := l.short(t).form, l.fields(t)
	if len(fields) == 0 {
		return short
	}
	return eitherForm(short, mappingForm(fields))
}
