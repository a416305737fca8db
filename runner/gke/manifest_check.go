package gke

import (
	"encoding/json"
	"fmt"
	"math"
	"path"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Sizes that Kubernetes and its store take, in bytes.
const (
	maxAnnotations = 256 << 10 // names and values of one object's together
	maxSecret      = 1 << 20   // values of one Secret together
	maxObject      = 1 << 20   // one object as JSON: etcd takes 1.5 MiB, and controllers add to it
)

// maxPods is how many hosts a job may have, over all slices.
const maxPods = 100_000

// checkJob finds all that the API server, a kubelet or a starting program would refuse.
func checkJob(j Job) error {
	var c checker
	c.addAll("name", validation.IsDNS1035Label(j.Name))
	if len(j.Name) > maxName {
		c.add("name", "must be no more than %d characters", maxName)
	} else if pod := longestPod(j); len(pod) > validation.DNS1035LabelMaxLength {
		c.add("name", "is too long by %d for the pods of this job, whose names have the numbers of slice and host behind it", len(pod)-validation.DNS1035LabelMaxLength)
	}
	if j.Namespace != "" {
		c.addAll("namespace", validation.IsDNS1123Label(j.Namespace))
	}
	c.image(j.Image)
	for i, arg := range slices.Concat(j.Command, j.Args) {
		c.text(fmt.Sprintf("argument %d", i+1), arg)
	}
	if c.unicode("working directory", j.Dir); j.Dir != "" && !path.IsAbs(j.Dir) {
		c.add("working directory", "%q is not absolute", j.Dir)
	}
	c.accelerator(j)
	c.limits(j)
	c.placement(j)
	c.environment(j)
	c.storage(j)
	c.config("pull credential", j.PullConfig)
	c.config("result credential", j.ResultConfig)
	c.facts(j)
	return c.err(j.Name)
}

// image wants a name and a digest; what the name may be is for the registry to say.
func (c *checker) image(image string) {
	name, digest, _ := strings.Cut(image, "@sha256:")
	isHex := len(digest) == 64 && strings.Trim(digest, "0123456789abcdef") == ""
	if name == "" || !isHex || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) {
		c.add("image", "%q is not NAME@sha256:DIGEST", image)
	}
}

func (c *checker) accelerator(j Job) {
	a := j.Accelerator
	if a.Kind == "" || a.Arch == "" || a.Chips != a.Hosts*a.PerHost || a.Hosts < 1 {
		c.add("accelerator", "%s is not resolved", a)
	}
	if j.Slices < 0 {
		c.add("slices", "%d is negative", j.Slices)
	}
	if j.Slices > 1 && a.Kind != TPU {
		c.add("slices", "%s has no slices, only TPUs have", a)
	}
	if slicesOf(j) > maxPods/hostsOf(j) {
		c.add("slices", "%d times %d hosts are more than %d", slicesOf(j), hostsOf(j), maxPods)
	}
}

// limits checks numbers.
func (c *checker) limits(j Job) {
	for _, q := range []struct{ field, text string }{{"cpu", j.CPU}, {"memory", j.Memory}, {"shm", j.Shm}} {
		if q.text == "" {
			continue
		}
		if n, err := resource.ParseQuantity(q.text); err != nil {
			c.add(q.field, "%q is no quantity; write for instance 500m or 16Gi", q.text)
		} else if n.Sign() <= 0 {
			c.add(q.field, "%s is not more than 0", q.text)
		}
	}
	for _, d := range []struct {
		field string
		d     time.Duration
	}{{"timeout", j.Timeout}, {"keep", j.Keep}, {"grace", j.Grace}} {
		if d.d < 0 || d.d > math.MaxInt32*time.Second {
			c.add(d.field, "%s is not between 0 and %s", d.d, math.MaxInt32*time.Second)
		}
	}
	if j.Retries < 0 || j.Retries > math.MaxInt32 {
		c.add("retries", "%d is not between 0 and %d", j.Retries, math.MaxInt32)
	}
}

// placement checks where the job may run.
func (c *checker) placement(j Job) {
	project, name, ok := readReservation(j.Reservation)
	if !ok {
		c.add("reservation", "%q is neither NAME nor projects/PROJECT/reservations/NAME", j.Reservation)
	}
	for _, v := range []struct{ field, value string }{
		{"reservation", project}, {"reservation", name}, {"queue", j.Queue}, {"priority", j.Priority},
	} {
		c.addAll(v.field, validation.IsValidLabelValue(v.value))
	}
	if j.Priority != "" && j.Queue == "" {
		c.add("priority", "is Kueue's and needs a queue")
	}
	var ways []string
	for way, asked := range map[string]bool{"spot": onSpot(j), "reservation": j.Reservation != "", "flex-start": j.FlexStart} {
		if asked {
			ways = append(ways, way)
		}
	}
	if slices.Sort(ways); len(ways) > 1 {
		c.add(ways[0], "cannot be had together with %s: a machine comes in one of these ways", strings.Join(ways[1:], " and "))
	}
	without := j
	without.Selector = nil
	own := nodeSelector(without)
	for _, label := range sortedKeys(j.Selector) {
		field := fmt.Sprintf("node label %q", label)
		c.addAll(field, validation.IsQualifiedName(label))
		c.addAll(field, validation.IsValidLabelValue(j.Selector[label]))
		if have, ok := own[label]; ok && have != j.Selector[label] {
			c.add(field, "%q contradicts %q, which the job needs", j.Selector[label], have)
		}
	}
}

// reservedVariables are those that others set, and why a job cannot.
func reservedVariables(j Job) map[string]string {
	if j.Accelerator.Kind != TPU {
		return nil
	}
	reserved := map[string]string{}
	for _, name := range []string{"TPU_WORKER_ID", "TPU_WORKER_HOSTNAMES"} {
		reserved[name] = "GKE sets it for each host"
	}
	for _, v := range sliceVariables(j) {
		reserved[v.Name] = "ibuild sets it for each slice"
	}
	return reserved
}

func (c *checker) environment(j Job) {
	seen := map[string]bool{}
	reserved := reservedVariables(j)
	total := 0
	for i, v := range slices.Concat(j.Env, j.SecretEnv) {
		field := fmt.Sprintf("env %q", v.Name)
		c.addAll(field, validation.IsEnvVarName(v.Name))
		c.text(field, v.Name+"="+v.Value)
		if seen[v.Name] {
			c.add(field, "is set twice")
		}
		if why := reserved[v.Name]; why != "" {
			c.add(field, "cannot be set: %s", why)
		}
		seen[v.Name] = true
		if i >= len(j.Env) {
			c.addAll(field, validation.IsConfigMapKey(v.Name)) // the rule of Secrets' keys, too
			total += len(v.Value)
		}
	}
	if total > maxSecret {
		c.add("secret variables", "have %d bytes together, and a Secret takes %d; put large ones into files", total, maxSecret)
	}
}

// config checks a Docker config.json, whose contents no error may show.
func (c *checker) config(field string, data []byte) {
	if data == nil {
		return
	}
	if len(data) > maxSecret {
		c.add(field, "has %d bytes, and a Secret takes %d", len(data), maxSecret)
	}
	var object map[string]any
	if json.Unmarshal(data, &object) != nil || object == nil {
		c.add(field, "is no JSON object")
	}
}

func (c *checker) facts(j Job) {
	c.unicode("owner", j.Owner)
	for _, name := range sortedKeys(j.Facts) {
		field := fmt.Sprintf("fact %q", name)
		c.addAll(field, validation.IsQualifiedName(Domain+name))
		if slices.Contains([]string{ownerAnnotation, acceleratorAnnotation, submissionAnnotation}, Domain+name) {
			c.add(field, "is set from the job itself")
		}
		c.unicode(field, j.Facts[name])
	}
	total := 0
	for name, value := range topMeta(j).Annotations {
		total += len(name) + len(value)
	}
	if total > maxAnnotations {
		c.add("facts", "have %d bytes together, and Kubernetes takes %d", total, maxAnnotations)
	}
}

// checkSizes holds the objects to what the API server's store takes.
func checkSizes(objects []*unstructured.Unstructured) error {
	var c checker
	for _, o := range objects {
		data, err := o.MarshalJSON()
		if err != nil {
			return err
		}
		// a Secret's values were counted before they became base64, as Kubernetes does it
		if o.GetKind() != "Secret" && len(data) > maxObject {
			c.add(o.GetKind(), "has %d bytes, and Kubernetes takes %d: arguments and variables are too long", len(data), maxObject)
		}
	}
	if len(objects) == 0 {
		return nil
	}
	return c.err(objects[len(objects)-1].GetName())
}

func sortedKeys(m map[string]string) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
