package gke

import (
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The cluster autoscaler says what it does in this ConfigMap, also on GKE.
const (
	autoscalerStatusPath = "/api/v1/namespaces/kube-system/configmaps/cluster-autoscaler-status"
	autoscalerStatusKey  = "status"
)

// nodeGroup is what the autoscaler says of one of its groups. On GKE a node pool
// has one for each of its zones.
type nodeGroup struct {
	name    string // the last part of its address, "gke-CLUSTER-POOL-0123abcd-grp"
	max     int    // nodes
	trouble string // why it makes no nodes now; empty for nothing
}

// maxStatus is the most of the status that is read: etcd takes no larger ConfigMap.
const maxStatus = 2 << 20

// parseAutoscaler reads the status in both forms: YAML since autoscaler 1.30, and
// the text for people before it. Groups without a largest size are left out: the
// autoscaler does nothing with them.
func parseAutoscaler(text string) ([]nodeGroup, error) {
	if len(text) > maxStatus {
		return nil, fmt.Errorf("it has %d bytes, and at most %d are read", len(text), maxStatus)
	}
	if strings.HasPrefix(strings.TrimSpace(text), "Cluster-autoscaler status at") {
		return parseOldStatus(text), nil
	}
	return parseStatus(text)
}

// autoscalerStatus is what is read of the YAML form.
type autoscalerStatus struct {
	Status string `yaml:"autoscalerStatus"`
	Groups []struct {
		Name   string `yaml:"name"`
		Health struct {
			Status string `yaml:"status"`
			Counts struct {
				Registered struct {
					Total int `yaml:"total"`
				} `yaml:"registered"`
			} `yaml:"nodeCounts"`
			Min int `yaml:"minSize"`
			Max int `yaml:"maxSize"`
		} `yaml:"health"`
		ScaleUp struct {
			Status  string `yaml:"status"`
			Backoff struct {
				Code    string `yaml:"errorCode"`
				Message string `yaml:"errorMessage"`
			} `yaml:"backoffInfo"`
		} `yaml:"scaleUp"`
	} `yaml:"nodeGroups"`
}

func parseStatus(text string) ([]nodeGroup, error) {
	var status autoscalerStatus
	if err := yaml.Unmarshal([]byte(text), &status); err != nil {
		return nil, fmt.Errorf("it is not as the autoscaler writes it: %w", err)
	}
	if status.Status == "" && len(status.Groups) == 0 {
		return nil, errors.New("it is not as the autoscaler writes it: neither autoscalerStatus nor nodeGroups is there")
	}
	var groups []nodeGroup
	for _, g := range status.Groups {
		group := nodeGroup{name: lastPart(g.Name), max: g.Health.Max}
		switch {
		case g.ScaleUp.Status == "Backoff":
			group.trouble = backoffText(g.ScaleUp.Backoff.Code, g.ScaleUp.Backoff.Message)
		case g.Health.Status == "Unhealthy":
			group.trouble = "the autoscaler finds it unhealthy"
		}
		if group.max > 0 {
			groups = append(groups, group)
		}
	}
	return groups, nil
}

func backoffText(code, message string) string {
	text := "the autoscaler waits after a failure"
	if code != "" {
		text += ", " + oneLine(code)
	}
	if message != "" {
		text += ": " + oneLine(message)
	}
	return text
}

// parseOldStatus reads the old form line by line:
//
//	Name:        https://…/instanceGroups/gke-c-l4-0123abcd-grp
//	Health:      Healthy (ready=0 … registered=0 … cloudProviderTarget=0 (minSize=0, maxSize=4))
//	ScaleUp:     Backoff (ready=0 cloudProviderTarget=0)
func parseOldStatus(text string) []nodeGroup {
	var groups []nodeGroup
	var group nodeGroup
	keep := func() {
		if group.name != "" && group.max > 0 {
			groups = append(groups, group)
		}
	}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		value = strings.TrimSpace(value)
		switch key {
		case "Name":
			keep()
			group = nodeGroup{name: lastPart(value)}
		case "Health":
			_, size, _ := strings.Cut(value, "maxSize=")
			group.max = int(atoi(size))
			if strings.HasPrefix(value, "Unhealthy") {
				group.trouble = "the autoscaler finds it unhealthy"
			}
		case "ScaleUp":
			if strings.HasPrefix(value, "Backoff") {
				group.trouble = backoffText("", "")
			}
		}
	}
	keep()
	return groups
}

// lastPart is what stands behind the last slash: Google's addresses of one instance
// group differ before it.
func lastPart(address string) string { return address[strings.LastIndex(address, "/")+1:] }

// withoutHash takes off what GKE puts behind the pool in the name of a group: eight
// hexadecimal digits and "-grp".
func withoutHash(group string) string {
	base, ok := strings.CutSuffix(group, "-grp")
	at := len(base) - 9
	if !ok || at <= 0 || base[at] != '-' || strings.Trim(base[at+1:], "0123456789abcdef") != "" {
		return group
	}
	return base[:at]
}

// ofPool says whether a group is of a pool with this name and these nodes. GKE cuts
// long names, so that nodes, which have the group's name in front, tell more than
// the pool's name.
func (g nodeGroup) ofPool(pool string, nodes []string) bool {
	prefix := strings.TrimSuffix(g.name, "grp")
	for _, n := range nodes {
		if prefix != "" && strings.HasPrefix(n, prefix) {
			return true
		}
	}
	return g.name == pool || strings.HasSuffix(withoutHash(g.name), "-"+pool)
}

// pool is a name for people for a group whose pool is not known: on GKE the group's
// name holds the cluster's and the pool's.
func (g nodeGroup) pool() string {
	return strings.TrimPrefix(withoutHash(g.name), "gke-")
}
