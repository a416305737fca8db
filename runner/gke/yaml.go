package gke

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// redacted stands for a secret value.
const redacted = "REDACTED"

// YAML is the objects as kubectl apply takes them, without the values of Secrets:
// others stand in their place, and a comment says so. The objects are not changed.
func YAML(objects []*unstructured.Unstructured) ([]byte, error) {
	return writeYAML(objects, false)
}

// SecretYAML is YAML with the values of Secrets in it.
func SecretYAML(objects []*unstructured.Unstructured) ([]byte, error) {
	return writeYAML(objects, true)
}

func writeYAML(objects []*unstructured.Unstructured, secret bool) ([]byte, error) {
	var b bytes.Buffer
	for i, o := range objects {
		if i > 0 {
			b.WriteString("---\n")
		}
		if o.GetKind() == "Secret" && !secret {
			o = redact(o)
			b.WriteString("# The values of this Secret are left out: " + redacted + " stands in their place.\n")
		}
		node, err := yamlNode(o.Object)
		if err != nil {
			return nil, fmt.Errorf("write %s %s as YAML: %w", o.GetKind(), o.GetName(), err)
		}
		enc := yaml.NewEncoder(&b)
		enc.SetIndent(2)
		if err := enc.Encode(node); err != nil {
			return nil, fmt.Errorf("write %s %s as YAML: %w", o.GetKind(), o.GetName(), err)
		}
	}
	return b.Bytes(), nil
}

// yamlNode chooses how each text is written. Left to itself the encoder writes some
// texts with control characters or tabs so that kubectl's parser refuses them or
// reads others.
func yamlNode(value any) (*yaml.Node, error) {
	switch v := value.(type) {
	case map[string]any:
		node := &yaml.Node{Kind: yaml.MappingNode}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			child, err := yamlNode(v[key])
			if err != nil {
				return nil, err
			}
			node.Content = append(node.Content, yamlText(key), child)
		}
		return node, nil
	case []any:
		node := &yaml.Node{Kind: yaml.SequenceNode}
		for _, item := range v {
			child, err := yamlNode(item)
			if err != nil {
				return nil, err
			}
			node.Content = append(node.Content, child)
		}
		return node, nil
	case string:
		return yamlText(v), nil
	}
	node := &yaml.Node{}
	return node, node.Encode(value)
}

// yamlText writes texts of several lines as they are where nothing in them can be
// mistaken. What has anything unusual in it, or could be taken for another type by
// some version of YAML, is in double quotes.
func yamlText(text string) *yaml.Node {
	node := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	unusual := strings.ContainsFunc(strings.Join(lines, ""), func(r rune) bool { return r < ' ' || r > '~' && !unicode.IsLetter(r) }) ||
		slices.ContainsFunc(lines, func(line string) bool { return line != strings.TrimRight(line, " ") })
	switch several := len(lines) > 1; {
	case several && !unusual && lines[0] != "" && lines[0][0] != ' ' && lines[len(lines)-1] != "":
		node.Style = yaml.LiteralStyle
	case unusual || strings.Contains(text, "\n") || !isPlain(text):
		node.Style = yaml.DoubleQuotedStyle
	}
	return node
}

// isPlain says that a text of one line is a text without quotes, too, as far as its
// type goes: no number begins with a letter or a slash, and the words are few.
func isPlain(text string) bool {
	if text == "" || text[0] != '/' && !unicode.IsLetter(rune(text[0])) {
		return false
	}
	return !slices.Contains([]string{"y", "n", "yes", "no", "on", "off", "true", "false", "null"}, strings.ToLower(text))
}

// redact keeps what the API server checks: a Secret for pulling has to be JSON.
func redact(o *unstructured.Unstructured) *unstructured.Unstructured {
	o = o.DeepCopy()
	data, _, _ := unstructured.NestedMap(o.Object, "data")
	shown := map[string]any{}
	for key := range data {
		shown[key] = redacted
		if key == corev1.DockerConfigJsonKey {
			shown[key] = `{"auths":{"` + redacted + `":{}}}`
		}
	}
	delete(o.Object, "data")
	o.Object["stringData"] = shown
	return o
}
