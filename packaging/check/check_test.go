package check

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

// packaging is the directory of what is checked.
var packaging = filepath.Join("..")

// built is the directory of the program. TestMain removes it.
var built string

func TestMain(m *testing.M) {
	code := m.Run()
	if built != "" {
		os.RemoveAll(built)
	}
	os.Exit(code)
}

// build makes the program as the image has it, once for all tests.
var build = sync.OnceValues(func() (string, error) {
	var err error
	if built, err = os.MkdirTemp("", "pegasus-check"); err != nil {
		return "", err
	}
	path := filepath.Join(built, "pegasus")
	c := exec.Command("go", "build", "-trimpath", "-o", path, "./cmd/pegasus")
	c.Dir = filepath.Join(packaging, "..")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

func binary(t *testing.T) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func project(t *testing.T) *types.Project {
	t.Helper()
	o, err := cli.NewProjectOptions([]string{filepath.Join(packaging, "compose", "compose.yaml")}, cli.WithOsEnv)
	if err != nil {
		t.Fatal(err)
	}
	p, err := o.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The file is one of compose, what it mounts is there, and each server has the address that it says.
func TestCompose(t *testing.T) {
	p := project(t)
	servers := 0
	for name, s := range p.Services {
		for _, v := range s.Volumes {
			if v.Type != types.VolumeTypeBind {
				continue
			}
			if _, err := os.Stat(v.Source); err != nil {
				t.Errorf("%s mounts %v", name, err)
			}
		}
		if s.Image != "pegasus" {
			continue
		}
		servers++
		at := s.Networks["pegasus"].Ipv4Address
		if i := slices.Index(s.Command, "--advertise"); i < 0 || !strings.HasPrefix(s.Command[i+1], at+":") {
			t.Errorf("%s has the address %s, and the command %q", name, at, s.Command)
		}
		if !s.ReadOnly || !slices.Contains(s.CapDrop, "ALL") {
			t.Errorf("%s may do more than it needs", name)
		}
	}
	if servers != 6 {
		t.Errorf("%d servers", servers)
	}
}

// decode reads a document of Kubernetes as the type of its kind, strictly.
func decode(doc []byte) (any, error) {
	var head struct{ APIVersion, Kind string }
	if err := yaml.Unmarshal(doc, &head); err != nil {
		return nil, err
	}
	kinds := map[string]any{
		"v1 Namespace": &corev1.Namespace{}, "v1 ConfigMap": &corev1.ConfigMap{}, "v1 Service": &corev1.Service{},
		"apps/v1 StatefulSet": &appsv1.StatefulSet{}, "policy/v1 PodDisruptionBudget": &policyv1.PodDisruptionBudget{},
	}
	v := kinds[head.APIVersion+" "+head.Kind]
	if v == nil {
		return nil, fmt.Errorf("unknown kind %q of %q", head.Kind, head.APIVersion)
	}
	return v, yaml.UnmarshalStrict(doc, v)
}

// The documents are those of Kubernetes, ports and labels agree, and the servers' file is valid.
func TestKubernetes(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(packaging, "kubernetes", "pegasus.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	bin := binary(t)
	counts := map[string]int{}
	listed, metas := "", []string(nil)
	for doc := range bytes.SplitSeq(text, []byte("\n---\n")) {
		v, err := decode(doc)
		if err != nil {
			t.Errorf("%v in %s", err, doc)
			continue
		}
		counts[fmt.Sprintf("%T", v)]++
		switch v := v.(type) {
		case *corev1.ConfigMap:
			file := filepath.Join(t.TempDir(), "pegasus.toml")
			if err := os.WriteFile(file, []byte(v.Data["pegasus.toml"]), 0o644); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(bin, "config", "check", file).CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
			listed = v.Data["pegasus.toml"]
		case *corev1.Service:
			if v.Spec.ClusterIP != "None" || !v.Spec.PublishNotReadyAddresses {
				t.Errorf("service %s hides pods that aren't ready from each other", v.Name)
			}
		case *appsv1.StatefulSet:
			c := v.Spec.Template.Spec.Containers[0]
			port := strconv.Itoa(int(c.Ports[0].ContainerPort))
			// A pod is known by its name in the headless service, of which the metas' stand in the file, and its data follows it.
			known := fmt.Sprintf("$(POD_NAME).%s.pegasus.svc:%s", v.Spec.ServiceName, port)
			if i := slices.Index(c.Args, "--advertise"); i < 0 || c.Args[i+1] != known || c.Env[0].Name != "POD_NAME" || v.Spec.Template.Spec.HostNetwork || len(v.Spec.VolumeClaimTemplates) != 1 {
				t.Errorf("%s advertises %q with the port %s", v.Name, c.Args, port)
			}
			if v.Name == "meta" {
				for i := range *v.Spec.Replicas {
					metas = append(metas, strings.Replace(known, "$(POD_NAME)", fmt.Sprintf("meta-%d", i), 1))
				}
			}
			for k, want := range v.Spec.Selector.MatchLabels {
				if v.Spec.Template.Labels[k] != want {
					t.Errorf("%s doesn't select its own pods", v.Name)
				}
			}
			checkFlags(t, bin, c.Args)
		}
	}
	if counts["*v1.StatefulSet"] != 2 || counts["*v1.PodDisruptionBudget"] != 2 || counts["*v1.Service"] != 2 {
		t.Errorf("%v", counts)
	}
	if want := fmt.Sprintf("meta_servers = [\"%s\"]", strings.Join(metas, "\", \"")); !strings.Contains(listed, want) {
		t.Errorf("the file doesn't say %s: %s", want, listed)
	}
	if _, err := decode([]byte("apiVersion: v1\nkind: Service\nspec: {portz: 1}\n")); err == nil {
		t.Error("an unknown field is taken")
	}
}

// checkFlags checks that the program knows a command and its flags.
func checkFlags(t *testing.T, bin string, args []string) {
	t.Helper()
	help, err := exec.Command(bin, args[0], args[1], "--help").CombinedOutput()
	if err != nil {
		t.Errorf("%q: %v", args[:2], err)
	}
	for _, a := range args[2:] {
		if strings.HasPrefix(a, "--") && !regexp.MustCompile(`\s`+regexp.QuoteMeta(a)+`\s`).Match(help) {
			t.Errorf("pegasus %s has no flag %s", strings.Join(args[:2], " "), a)
		}
	}
}

// The units start commands that there are, and keep the servers from what they don't need.
func TestSystemd(t *testing.T) {
	bin := binary(t)
	for _, role := range []string{"meta", "replica"} {
		f, err := os.Open(filepath.Join(packaging, "systemd", "pegasus-"+role+".service"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		section, has := "", map[string]string{}
		for l := bufio.NewScanner(f); l.Scan(); {
			line := l.Text()
			switch key, value, ok := strings.Cut(line, "="); {
			case line == "" || strings.HasPrefix(line, "#"):
			case strings.HasPrefix(line, "["):
				section = line
			case !ok || section == "":
				t.Errorf("%s: %q", role, line)
			default:
				has[section+key] = value
			}
		}
		args := strings.Fields(has["[Service]ExecStart"])
		if len(args) < 3 || args[0] != "/usr/bin/pegasus" || args[1] != "server" || args[2] != role {
			t.Fatalf("%s starts %q", role, args)
		}
		checkFlags(t, bin, args[1:])
		for _, k := range []string{"User", "NoNewPrivileges", "ProtectSystem", "SystemCallFilter", "LimitNOFILE"} {
			if has["[Service]"+k] == "" {
				t.Errorf("%s has no %s", role, k)
			}
		}
	}
}

// The commands of compose.yaml, each as its container runs it: in a file tree that has nothing but the program and what is
// mounted, by a user that is not root, in a network where the servers have their addresses.
func TestContainers(t *testing.T) {
	if os.Getuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("it takes root to make a network")
		}
		t.Skip("it takes root to make a network")
	}
	p := project(t)
	bin := binary(t)
	net := fmt.Sprintf("pegasus-check-%d", os.Getpid())
	ip := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %q: %v: %s", args, err, out)
		}
	}
	ip("netns", "add", net)
	t.Cleanup(func() {
		if out, err := exec.Command("ip", "netns", "del", net).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	ip("-n", net, "link", "set", "lo", "up")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	const user = 65532
	tree := func(s types.ServiceConfig) string {
		root := t.TempDir()
		for _, d := range []string{"etc/pegasus", "var/lib/pegasus", "tmp"} {
			if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(os.Chmod(root, 0o755), os.Chown(filepath.Join(root, "var/lib/pegasus"), user, user)); err != nil {
			t.Fatal(err)
		}
		copyTo(t, bin, filepath.Join(root, "pegasus"), 0o755)
		for _, v := range s.Volumes {
			if v.Type == types.VolumeTypeBind {
				copyTo(t, v.Source, filepath.Join(root, v.Target), 0o644)
			}
		}
		return root
	}
	run := func(root string, args ...string) *exec.Cmd {
		all := append([]string{"netns", "exec", net, "chroot", fmt.Sprintf("--userspec=%d:%d", user, user), root, "/pegasus"}, args...)
		c := exec.CommandContext(ctx, "ip", all...)
		c.Env = []string{"PATH=" + os.Getenv("PATH")}
		return c
	}
	any := ""
	for name, s := range p.Services {
		if s.Image != "pegasus" {
			continue
		}
		ip("-n", net, "addr", "add", s.Networks["pegasus"].Ipv4Address+"/24", "dev", "lo")
		root := tree(s)
		// All share one network here, so nobody may listen on all of its addresses.
		args := slices.Clone([]string(s.Command))
		if i := slices.Index(args, "--listen"); i >= 0 {
			args[i+1] = strings.Replace(args[i+1], "0.0.0.0", s.Networks["pegasus"].Ipv4Address, 1)
		}
		c := run(root, args...)
		log, err := os.Create(filepath.Join(t.TempDir(), "log"))
		if err != nil {
			t.Fatal(err)
		}
		c.Stdout, c.Stderr = log, log
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if t.Failed() {
				b, _ := os.ReadFile(log.Name())
				t.Logf("%s:\n%s", name, b)
			}
			c.Process.Signal(syscall.SIGKILL)
			c.Wait()
			log.Close()
		})
		any = root
	}
	const metas = "172.31.134.11:34601,172.31.134.12:34601,172.31.134.13:34601"
	var last []byte
	for {
		out, err := run(any, "set", "temp", "user1", "name", "Alice", "--meta", metas).CombinedOutput()
		if err == nil {
			break
		}
		if last = out; ctx.Err() != nil {
			t.Fatalf("%v: %s", err, last)
		}
		time.Sleep(100 * time.Millisecond)
	}
	if out, err := run(any, "get", "temp", "user1", "name", "--meta", metas).CombinedOutput(); err != nil || !strings.Contains(string(out), "Alice") {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := run(any, "nodes", "--meta", metas).CombinedOutput(); err != nil || !strings.Contains(string(out), "172.31.134.23:34801") {
		t.Errorf("%v: %s", err, out)
	}
}

func copyTo(t *testing.T, from, to string, mode os.FileMode) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, mode)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}
