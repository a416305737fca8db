//go:build integration

package kube

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

var secrets = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}

// client is a client of somebody with a kubeconfig.
func client(t *testing.T, kubeconfig string) (*rest.Config, dynamic.Interface) {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	c, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return config, c
}

func TestPeopleMayDoWhatTheirRolesSay(t *testing.T) {
	s := surround(t)
	file, err := s.cluster.Kubeconfig("alice@example.com", "developers")
	if err != nil {
		t.Fatal(err)
	}
	_, alice := client(t, file)
	list := func() error {
		_, err := alice.Resource(jobs).Namespace("default").List(t.Context(), metav1.ListOptions{})
		return err
	}
	if err := list(); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "alice@example.com") {
		t.Errorf("without a role: %v", err)
	}
	if _, err := s.cluster.Kubectl(t.Context(), "create", "rolebinding", "developers", "--clusterrole=edit", "--group=developers"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := until(ctx, "the role to be known", func(context.Context) (bool, error) { return list() == nil, nil }); err != nil {
		t.Error(err, list())
	}
	if _, err := alice.Resource(nodes).List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("nodes, which the role does not name: %v", err)
	}
}

// overCutter is an HTTP client that goes through a new cutter.
func overCutter(t *testing.T, c *Cluster) (*Cutter, *http.Client) {
	t.Helper()
	k, err := c.Cutter()
	if err != nil {
		t.Fatal(err)
	}
	file, err := k.Kubeconfig("cut", mastersGroup)
	if err != nil {
		t.Fatal(err)
	}
	config, _ := client(t, file)
	config.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil } // else the transport is shared
	connected, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(connected.CloseIdleConnections)
	return k, connected
}

// read asks for a path within a time and returns what came.
func read(t *testing.T, c *http.Client, address string, within time.Duration) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := c.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return string(body), err
}

func TestCutter(t *testing.T) {
	s := surround(t)
	k, c := overCutter(t, s.cluster)
	const soon = 10 * time.Second
	healthy := func(when string) {
		t.Helper()
		if body, err := read(t, c, k.Server+"/readyz", soon); err != nil || body != "ok" {
			t.Errorf("%s: %q, %v", when, body, err)
		}
	}
	healthy("at first")

	watched := make(chan error, 1)
	go func() {
		_, err := read(t, c, k.Server+"/api/v1/pods?watch=1", time.Minute)
		watched <- err
	}()
	time.Sleep(300 * time.Millisecond) // the watch runs
	k.Cut()
	if err := <-watched; err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a watch that was cut: %v", err)
	}
	healthy("after a cut")

	k.CutAfter(20 << 10)
	if body, err := read(t, c, k.Server+"/openapi/v2", soon); err == nil {
		t.Errorf("%d bytes came in one piece", len(body))
	}
	if err := k.Heal(); err != nil {
		t.Fatal(err)
	}
	if body, err := read(t, c, k.Server+"/openapi/v2", soon); err != nil || len(body) < 100<<10 {
		t.Errorf("healed: %d bytes, %v", len(body), err)
	}

	if err := k.Refuse(); err != nil {
		t.Fatal(err)
	}
	_, err := read(t, c, k.Server+"/readyz", soon)
	if errors.Is(err, syscall.ECONNRESET) { // it went out on a connection whose end the client had not seen yet
		_, err = read(t, c, k.Server+"/readyz", soon)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("refused: %v", err)
	}
	if err := k.Heal(); err != nil {
		t.Fatal(err)
	}
	healthy("healed after refusals")

	k.Stall()
	if _, err := read(t, c, k.Server+"/readyz", time.Second); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("stalled: %v", err)
	}
	if err := k.Heal(); err != nil {
		t.Fatal(err)
	}
	healthy("healed after a stall")
	if k.Open() == 0 {
		t.Error("a connection is open, and the cutter knows of none")
	}
}

func TestNodeIsLostAndComesBack(t *testing.T) {
	s := surround(t)
	extra := Node{Name: "extra", Labels: map[string]string{"only": "extra"}}
	if err := s.cluster.AddNode(t.Context(), extra); err != nil {
		t.Fatal(err)
	}
	job := script("lost", s.image, "sleep 86396")
	job.Spec.Template.Spec.NodeSelector = extra.Labels
	submit(t, s.cluster, job)
	pod := waitPod(t, s.cluster, "lost", "it to run", func(pod *corev1.Pod) bool { return pod.Status.Phase == corev1.PodRunning })
	begin := time.Now()
	if err := s.cluster.StopKubelet(extra.Name); err != nil {
		t.Fatal(err)
	}
	waitPod(t, s.cluster, "lost", "its eviction", func(now *corev1.Pod) bool {
		return now.Name == pod.Name && now.DeletionTimestamp != nil
	})
	t.Logf("a pod of a lost node is evicted after %s", since(begin))
	if err := s.cluster.StartKubelet(extra.Name); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := until(ctx, "the node to come back", func(ctx context.Context) (bool, error) {
		node, err := s.cluster.node(ctx, extra.Name)
		return err == nil && extra.usable(node), err
	}); err != nil {
		t.Error(err)
	}
	if err := s.cluster.RemoveNode(t.Context(), extra.Name); err != nil {
		t.Error(err)
	}
	if _, err := s.cluster.node(t.Context(), extra.Name); !apierrors.IsNotFound(err) {
		t.Errorf("a node that was removed: %v", err)
	}
	if err := s.cluster.StopKubelet(extra.Name); err == nil {
		t.Error("the kubelet of a node that was removed can be stopped")
	}
}

func TestNodeThatCannotStart(t *testing.T) {
	s := surround(t)
	wrong := Node{Name: "wrong", Labels: map[string]string{"kubernetes.io/not-for-kubelets": "true"}}
	begin := time.Now()
	err := s.cluster.AddNode(t.Context(), wrong)
	if err == nil || !strings.Contains(err.Error(), "the kubelet ended with status 1") || !strings.Contains(err.Error(), "not-for-kubelets") {
		t.Errorf("%v", err)
	}
	if took := since(begin); took > 30*time.Second {
		t.Errorf("that took %s to say", took)
	}
	if err := s.cluster.RemoveNode(t.Context(), wrong.Name); err != nil {
		t.Error(err)
	}
}

func TestDevicesComeBackWithTheKubelet(t *testing.T) {
	s := surround(t)
	const name = "gke-ibuild-l4-0"
	if err := s.cluster.StopKubelet(name); err != nil {
		t.Fatal(err)
	}
	if err := s.cluster.StartKubelet(name); err != nil {
		t.Fatal(err)
	}
	submit(t, s.cluster, withDevices(script("gpu-again", s.image, "echo $NVIDIA_VISIBLE_DEVICES"), gpuResource, "1", nil))
	pod := waitPod(t, s.cluster, "gpu-again", "its end", ended)
	if out := logs(t, s.cluster, pod.Name); out != "0\n" {
		t.Errorf("its device is %q", out)
	}
}

func TestTaints(t *testing.T) {
	s := surround(t)
	const key, node = "example.com/keep-off", "gke-ibuild-cpu-0"
	taint := corev1.Taint{Key: key, Effect: corev1.TaintEffectNoSchedule}
	if err := s.cluster.Taint(t.Context(), node, taint); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.cluster.Untaint(context.Background(), node, key) }) // for the other tests
	submit(t, s.cluster, script("kept-off", s.image, "true"))
	waitPod(t, s.cluster, "kept-off", "the taint to keep it off", func(pod *corev1.Pod) bool {
		for _, c := range pod.Status.Conditions {
			if strings.Contains(c.Message, "3 node(s) had untolerated taint(s)") {
				return true
			}
		}
		return false
	})
	if err := s.cluster.Untaint(t.Context(), node, key); err != nil {
		t.Fatal(err)
	}
	waitPod(t, s.cluster, "kept-off", "its end", ended)
}

// TestPasswordOfARegistry pulls through a proxy that asks for a password, with
// and without the secret that has it.
func TestPasswordOfARegistry(t *testing.T) {
	s := surround(t)
	const user, password = "puller", "s3cret"
	target := &url.URL{Scheme: "http", Host: s.env.Registry.Addr}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	guarded := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, p, _ := r.BasicAuth(); u != user || subtle.ConstantTimeCompare([]byte(p), []byte(password)) == 0 {
			w.Header().Set("WWW-Authenticate", `Basic realm="images"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	defer guarded.Close()
	address := strings.TrimPrefix(guarded.URL, "http://")
	if err := s.cluster.Reach(address); err != nil { // in the middle of the cluster's life
		t.Fatal(err)
	}
	image := strings.Replace(s.image, s.env.Registry.Addr, address, 1)

	submit(t, s.cluster, script("no-password", image, "true"))
	waitPod(t, s.cluster, "no-password", "a refusal", func(pod *corev1.Pod) bool {
		statuses := pod.Status.ContainerStatuses
		return len(statuses) > 0 && statuses[0].State.Waiting != nil && strings.Contains(statuses[0].State.Waiting.Message, "401")
	})
	login, err := json.Marshal(map[string]any{"auths": map[string]any{address: map[string]string{
		"auth": base64.StdEncoding.EncodeToString([]byte(user + ":" + password)),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cluster.create(t.Context(), secrets, "default", &corev1.Secret{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}, ObjectMeta: metav1.ObjectMeta{Name: "login"},
		Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{corev1.DockerConfigJsonKey: login},
	}); err != nil {
		t.Fatal(err)
	}
	job := script("password", image, "true")
	job.Spec.Template.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "login"}}
	submit(t, s.cluster, job)
	if pod := waitPod(t, s.cluster, "password", "its end", ended); terminated(&pod).ExitCode != 0 {
		t.Errorf("%+v", terminated(&pod))
	}
}
