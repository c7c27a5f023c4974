package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
	"github.com/gco-project/gco/internal/kubelab"
	"github.com/gco-project/gco/internal/kubelab/kubelabtest"
)

// sharedLease is a configuration under which a second agent takes over long
// before the first one's work has to end.
const sharedLease = `
timing: {trust: 60s, lease: 80s, takeover: 100s, longPoll: 1s}
regions: {east: {kubernetes: {leaseDuration: 3s}}}
`

// cluster is a real Kubernetes control plane with what deploy/ gives the agent
// there.
type cluster struct {
	*kubelab.Cluster
	t      *testing.T
	config *rest.Config
	http   *http.Client
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{Cluster: kubelabtest.Start(t, ""), t: t}
	var err error
	if c.config, err = clientcmd.BuildConfigFromFlags("", c.Kubeconfig); err != nil {
		t.Fatal(err)
	}
	if c.http, err = rest.HTTPClientFor(c.config); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"namespace/namespace.yaml", "agent/rbac.yaml"} {
		c.create(filepath.Join("..", "..", "deploy", file))
	}
	return c
}

// collections is where the API server has each kind of deploy/.
var collections = map[string]string{
	"Namespace":          "/api/v1/namespaces",
	"ServiceAccount":     "/api/v1/namespaces/%s/serviceaccounts",
	"ClusterRole":        "/apis/rbac.authorization.k8s.io/v1/clusterroles",
	"ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
	"Role":               "/apis/rbac.authorization.k8s.io/v1/namespaces/%s/roles",
	"RoleBinding":        "/apis/rbac.authorization.k8s.io/v1/namespaces/%s/rolebindings",
}

// create makes every object of a file.
func (c *cluster) create(file string) {
	c.t.Helper()
	text, err := os.Open(file)
	if err != nil {
		c.t.Fatal(err)
	}
	defer text.Close()
	for documents := yaml.NewYAMLOrJSONDecoder(text, 4096); ; {
		var object metav1.PartialObjectMetadata
		var raw json.RawMessage
		if err := documents.Decode(&raw); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			c.t.Fatal(err)
		}
		if err := json.Unmarshal(raw, &object); err != nil {
			c.t.Fatal(err)
		}
		path, known := collections[object.Kind]
		if !known {
			c.t.Fatalf("%s has a %s, which this test does not know", file, object.Kind)
		}
		if object.Namespace != "" {
			path = fmt.Sprintf(path, object.Namespace)
		}
		c.call(http.MethodPost, path, raw, nil)
	}
}

// call asks the API server as one who may do everything.
func (c *cluster) call(method, path string, body, answer any) {
	c.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		c.t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(c.t.Context(), method, c.Server+path, bytes.NewReader(text))
	if err != nil {
		c.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := c.http.Do(request)
	if err != nil {
		c.t.Fatal(err)
	}
	defer response.Body.Close()
	said := readAll(c.t, response.Body)
	if response.StatusCode >= http.StatusBadRequest {
		c.t.Fatalf("%s %s: %s: %s", method, path, response.Status, said)
	}
	if answer == nil {
		return
	}
	if err := json.Unmarshal([]byte(said), answer); err != nil {
		c.t.Fatal(err)
	}
}

// accountConfig is a kubeconfig of the agent's service account, and of nobody
// else.
func (c *cluster) accountConfig() string {
	c.t.Helper()
	var token authenticationv1.TokenRequest
	c.call(http.MethodPost, "/api/v1/namespaces/gco-system/serviceaccounts/gco-agent/token",
		authenticationv1.TokenRequest{TypeMeta: metav1.TypeMeta{APIVersion: "authentication.k8s.io/v1", Kind: "TokenRequest"}}, &token)
	loaded, err := clientcmd.LoadFromFile(c.Kubeconfig)
	if err != nil {
		c.t.Fatal(err)
	}
	for name := range loaded.AuthInfos {
		loaded.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	}
	path := filepath.Join(c.t.TempDir(), "agent.kubeconfig")
	if err := clientcmd.WriteToFile(*loaded, path); err != nil {
		c.t.Fatal(err)
	}
	return path
}

// leaseHolder is the agent that drives the cluster.
func (c *cluster) leaseHolder() string {
	c.t.Helper()
	var leases coordinationv1.LeaseList
	c.call(http.MethodGet, "/apis/coordination.k8s.io/v1/namespaces/gco-system/leases", nil, &leases)
	for _, lease := range leases.Items {
		if holder := lease.Spec.HolderIdentity; holder != nil {
			return *holder
		}
	}
	return ""
}

// pods are those of jobs, in the namespace of jobs.
func (c *cluster) pods() []corev1.Pod {
	c.t.Helper()
	var list corev1.PodList
	c.call(http.MethodGet, "/api/v1/namespaces/default/pods", nil, &list)
	return list.Items
}

// await asks again and again, where nothing tells.
func (c *cluster) await(what string, is func() bool) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	for !is() {
		if ctx.Err() != nil {
			c.t.Fatalf("after %s it is not so that %s", patience, what)
		}
		pause(50 * time.Millisecond)
	}
}

// agents starts two agents as deploy/ does: as pods that differ in
// their names only.
func (c *cluster) agents(plane *roles, region string) map[string]*process {
	c.t.Helper()
	created, err := plane.client.CreateToken(c.t.Context(), api.NewToken{Name: region, Role: "agent", Region: region})
	if err != nil {
		c.t.Fatal(err)
	}
	token := filepath.Join(plane.dir, region+".token")
	if err := os.WriteFile(token, []byte(created.Secret), 0o600); err != nil {
		c.t.Fatal(err)
	}
	kubeconfig, deployed := c.accountConfig(), deployedArgs(c.t)
	agents := map[string]*process{}
	for _, pod := range []string{"gco-agent-0", "gco-agent-1"} {
		probes := freeAddress(c.t)
		here := strings.NewReplacer(
			"$(GCO_REGION)", region, "$(GCO_ADDR)", plane.addr, "--probes=:8081", "--probes="+probes,
			"/etc/gco/config/gco.yaml", plane.config, "/etc/gco/token/token", token,
		)
		args := []string{"POD_NAME=" + pod, gco}
		for _, arg := range deployed {
			args = append(args, here.Replace(arg))
		}
		agents[pod] = launchCommand(c.t, plane.dir, exec.Command("env", append(args, "--kubeconfig", kubeconfig)...))
		c.await(pod+" answers its probes", func() bool {
			request, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, "http://"+probes+"/healthz", http.NoBody)
			if err != nil {
				c.t.Fatal(err)
			}
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				return false
			}
			_ = response.Body.Close()
			return response.StatusCode == http.StatusOK
		})
	}
	return agents
}

// deployedArgs are the arguments of the agent in deploy/.
func deployedArgs(t *testing.T) []string {
	t.Helper()
	text, err := os.Open(filepath.Join("..", "..", "deploy", "agent", "agent.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	defer text.Close()
	var deployment appsv1.Deployment
	if err := yaml.NewYAMLOrJSONDecoder(text, 4096).Decode(&deployment); err != nil {
		t.Fatal(err)
	}
	return deployment.Spec.Template.Spec.Containers[0].Args
}

// freeAddress is one on which nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// The agents have the permissions of deploy/ and no others. One drives the
// cluster; when it is killed, the other takes over, and nothing moves.
func TestAgentsOfAClusterTakeOver(t *testing.T) {
	c := startCluster(t)
	plane := controlPlaneWith(t, sharedLease)
	agents := c.agents(plane, "east")

	first := plane.submit(script("first", "echo from a cluster"))
	if ended := until(t, plane.client, first.ID, "finished", finished); ended.State != "succeeded" || ended.Region != "east" {
		t.Fatalf("the job ended as %s in %s: %s %s", ended.State, ended.Region, ended.Reason, ended.Message)
	}
	logs, err := plane.client.Logs(t.Context(), first.ID, client.LogOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer logs.Close()
	if said := readAll(t, logs); !strings.Contains(said, "from a cluster") {
		t.Errorf("it said %q", said)
	}

	mark := filepath.Join(t.TempDir(), "mark")
	long := plane.submit(script("long", "until [ -e "+mark+" ]; do sleep 0.1; done"))
	until(t, plane.client, long.ID, "running", inState("running"))
	killed := c.leaseHolder()
	if agents[killed] == nil {
		t.Fatalf("the cluster is driven by %q, which is none of the two", killed)
	}
	agents[killed].kill()
	c.await("another agent drives the cluster", func() bool { return c.leaseHolder() != killed })
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if ended := until(t, plane.client, long.ID, "finished", finished); ended.State != "succeeded" || ended.Attempt != 1 || ended.Losses != 0 {
		t.Errorf("the job of the killed agent ended as %s on attempt %d after %d losses: %s", ended.State, ended.Attempt, ended.Losses, ended.Message)
	}
	c.await("what was archived is gone from the cluster", func() bool { return len(c.pods()) == 0 })
}
