package project

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/ibuild/ibuild/frontends/spec/python"
)

// PoetryPython turns poetry's way to write versions into specifiers (PEP 440), one of which has to be
// met; none for any version. The forms are those of poetry's documentation: ^, ~, wildcards, bare versions,
// comparisons joined by commas or spaces, and alternatives by "||" or "|".
func PoetryPython(constraint string) ([]string, error) {
	if strings.TrimSpace(constraint) == "" || len(constraint) > 1000 {
		return nil, nil
	}
	var out []string
	for _, alternative := range strings.FieldsFunc(constraint, func(c rune) bool { return c == '|' }) {
		var clauses []string
		for _, part := range poetryParts(alternative) {
			clause, err := poetryClause(part)
			if err != nil {
				return nil, err
			}
			if clause != "" {
				clauses = append(clauses, clause)
			}
		}
		if len(clauses) == 0 {
			return nil, nil // "*"
		}
		joined := strings.Join(clauses, ",")
		if _, err := python.ParseSpecifier(joined); err != nil {
			return nil, err
		}
		out = append(out, joined)
	}
	return out, nil
}

// poetryParts splits at commas and spaces, but not between an operator and its version.
func poetryParts(text string) []string {
	var out []string
	operator := ""
	for _, field := range strings.FieldsFunc(text, func(c rune) bool { return c == ',' || c == ' ' || c == '\t' }) {
		if strings.Trim(field, "<>=!~^") == "" {
			operator += field
			continue
		}
		out = append(out, operator+field)
		operator = ""
	}
	if operator != "" {
		out = append(out, operator)
	}
	return out
}

func poetryClause(part string) (string, error) {
	version := strings.TrimLeft(part, "<>=!~^")
	operator := part[:len(part)-len(version)]
	if version == "*" {
		return "", nil
	}
	switch operator {
	case "^", "~":
		numbers, err := numbersOf(version)
		if err != nil {
			return "", err
		}
		return ">=" + version + ",<" + above(operator, numbers), nil
	case "", "=", "==":
		return "==" + version, nil
	}
	return operator + version, nil
}

func numbersOf(version string) ([]int, error) {
	var out []int
	for _, part := range strings.Split(version, ".") {
		n, err := strconv.Atoi(part)
		if err != nil || len(out) > 5 {
			return nil, fmt.Errorf("%q is not a version", version)
		}
		out = append(out, n)
	}
	return out, nil
}

// above is the first version that is too new: for ^ the next one in the first number that is not 0, for ~
// the next minor one, or the next major one when only that is given.
func above(operator string, v []int) string {
	at := min(1, len(v)-1)
	if operator == "^" {
		at = len(v) - 1
		for i, n := range v {
			if n != 0 {
				at = i
				break
			}
		}
	}
	out := make([]string, at+1)
	for i := range out {
		n := v[i]
		if i == at {
			n++
		}
		out[i] = strconv.Itoa(n)
	}
	return strings.Join(out, ".")
}
