package gke

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/rest"
)

// gkeName is a cluster's name at Google.
type gkeName struct{ project, location, cluster string }

// readGKEName reads the name that gcloud gives to the entries of a kubeconfig,
// gke_PROJECT_LOCATION_CLUSTER. None of the three can have an underscore.
func readGKEName(text string) (gkeName, bool) {
	parts := strings.Split(text, "_")
	if len(parts) != 4 || parts[0] != "gke" || parts[1] == "" || parts[2] == "" || parts[3] == "" {
		return gkeName{}, false
	}
	return gkeName{parts[1], parts[2], parts[3]}, true
}

// flags are those by which gcloud knows the cluster; without a name people fill it in.
func (n gkeName) flags() string {
	if n.cluster == "" {
		return "--cluster CLUSTER --location LOCATION"
	}
	return "--project " + n.project + " --cluster " + n.cluster + " --location " + n.location
}

const (
	googleAPI  = "https://container.googleapis.com"
	googleTime = 5 * time.Second // how long GKE's API may take: it is asked beside others, and can be done without
	maxGoogle  = 32 << 20        // bytes of its answer that are read
)

// googlePlugin is GKE's program for credentials. What it gives is a token for all
// of Google Cloud; what others give is for the API server alone and never sent on.
const googlePlugin = "gke-gcloud-auth-plugin"

// googleFields are the parts of a cluster that are asked for.
const googleFields = "autopilot(enabled),autoscaling(enableNodeAutoprovisioning,resourceLimits,defaultComputeClassConfig)," +
	"nodePools(name,status,locations,instanceGroupUrls,autoscaling,placementPolicy(tpuTopology),queuedProvisioning,conditions(message)," +
	"config(machineType,accelerators(acceleratorType,acceleratorCount,gpuPartitionSize),labels,taints,spot,flexStart,reservationAffinity))"

// errNoGoogle says that there is no way to ask GKE's API.
var errNoGoogle = errors.New("the kubeconfig's entry is not one of gcloud's (gke_PROJECT_LOCATION_CLUSTER with " + googlePlugin + ")")

// isGoogle says whether the cluster is known to be one of GKE's, so that pools may
// be there, or be made, that the API server says nothing about.
func (c *Cluster) isGoogle() bool { return c.name.cluster != "" }

// askGoogle asks GKE's API for the cluster's pools, also empty ones. The token is
// the one that the kubeconfig's plug-in gives for the API server; it goes to
// googleapis.com, and to nobody that an answer may name.
func (c *Cluster) askGoogle(ctx context.Context) (*googleCluster, error) {
	plugin := c.config.ExecProvider
	if !c.isGoogle() || plugin == nil || strings.TrimSuffix(filepath.Base(plugin.Command), ".exe") != googlePlugin {
		return nil, errNoGoogle
	}
	ctx, cancel := context.WithTimeout(ctx, googleTime)
	defer cancel()
	base := googleAPI
	if c.googleAPI != "" {
		base = c.googleAPI
	}
	plugin = plugin.DeepCopy()
	plugin.ProvideClusterInfo = false // it is about another server
	client, err := rest.HTTPClientFor(&rest.Config{Host: base, ExecProvider: plugin, UserAgent: c.config.UserAgent})
	if err != nil {
		return nil, err
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	address := fmt.Sprintf("%s/v1/projects/%s/locations/%s/clusters/%s?fields=%s", base,
		url.PathEscape(c.name.project), url.PathEscape(c.name.location), url.PathEscape(c.name.cluster), url.QueryEscape(googleFields))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return readGoogle(response.StatusCode, io.LimitReader(response.Body, maxGoogle+1))
}

// readGoogle reads an answer of GKE's API.
func readGoogle(code int, body io.Reader) (*googleCluster, error) {
	data, err := io.ReadAll(body)
	switch {
	case err != nil:
		return nil, err
	case len(data) > maxGoogle:
		return nil, fmt.Errorf("GKE's API answers with more than %d MB", maxGoogle>>20)
	case code != http.StatusOK:
		var refusal struct {
			Error struct {
				Message string `json:"message"`
			} `json:"error"`
		}
		_ = json.Unmarshal(data, &refusal) // what is no JSON has no message
		return nil, fmt.Errorf("GKE's API answers %d %s", code, oneLine(refusal.Error.Message))
	}
	var cluster googleCluster
	if err := json.Unmarshal(data, &cluster); err != nil {
		return nil, fmt.Errorf("GKE's API: %w", err)
	}
	return &cluster, nil
}

// googleCluster is a cluster as GKE's API has it (container.googleapis.com, v1).
type googleCluster struct {
	Autopilot struct {
		Enabled bool `json:"enabled"`
	} `json:"autopilot"`
	Autoscaling struct {
		MakesPools bool `json:"enableNodeAutoprovisioning"`
		Limits     []struct {
			Type    string `json:"resourceType"` // "cpu", "memory", or a GPU's or TPU's label
			Maximum int64  `json:"maximum,string"`
		} `json:"resourceLimits"`
		DefaultClass struct {
			Enabled bool `json:"enabled"`
		} `json:"defaultComputeClassConfig"`
	} `json:"autoscaling"`
	Pools []googlePool `json:"nodePools"`
}

// googlePool is a node pool as GKE's API has it.
type googlePool struct {
	Name        string   `json:"name"`
	Status      string   `json:"status"`
	Locations   []string `json:"locations"` // zones
	Groups      []string `json:"instanceGroupUrls"`
	Autoscaling struct {
		Enabled  bool `json:"enabled"`
		Max      int  `json:"maxNodeCount"`      // in each zone
		TotalMax int  `json:"totalMaxNodeCount"` // in all; only one of the two is set
	} `json:"autoscaling"`
	Placement struct {
		Topology string `json:"tpuTopology"`
	} `json:"placementPolicy"`
	Queued struct {
		Enabled bool `json:"enabled"`
	} `json:"queuedProvisioning"`
	Conditions []struct {
		Message string `json:"message"`
	} `json:"conditions"`
	Config struct {
		Machine      string `json:"machineType"`
		Accelerators []struct {
			Type      string `json:"acceleratorType"`
			Count     int64  `json:"acceleratorCount,string"`
			Partition string `json:"gpuPartitionSize"`
		} `json:"accelerators"`
		Labels map[string]string `json:"labels"`
		Taints []struct {
			Key    string `json:"key"`
			Value  string `json:"value"`
			Effect string `json:"effect"`
		} `json:"taints"`
		Spot        bool `json:"spot"`
		FlexStart   bool `json:"flexStart"`
		Reservation struct {
			Values []string `json:"values"` // names, or projects/PROJECT/reservations/NAME
		} `json:"reservationAffinity"`
	} `json:"config"`
}
