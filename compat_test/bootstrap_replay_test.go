package compat

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/compat_test/wire"
	"pegasus/gen/consensus"
	"pegasus/gen/layer2"
	"pegasus/gen/nfs"
	"pegasus/gen/registry"
	"pegasus/gen/value"
	"pegasus/rpc"
)

// recordedSource gives the answers that the servers of a C++ cluster gave to those of another one that copied a
// table. It takes only the requests that it got then, but for addresses and for where the asking server keeps files.
type recordedSource struct {
	t       *testing.T
	addr    base.RPCAddress
	answers map[string]*recordedAnswer // by askedFor

	mu sync.Mutex // of what is wanted
}

type recordedAnswer struct {
	request string
	answer  value.Value
	wanted  bool
}

// askedFor is what a request to a source asks for; "" of other requests.
func askedFor(arg value.Value) string {
	switch q := arg.(type) {
	case *layer2.QueryCfgRequest:
		if len(q.PartitionIndices) == 1 {
			return fmt.Sprintf("place of %s.%d", q.AppName, q.PartitionIndices[0])
		}
	case *consensus.LearnRequest:
		return "checkpoint of " + q.Pid.String()
	case *nfs.GetFileSizeRequest:
		return "sizes in " + q.SourceDir
	case *nfs.CopyRequest:
		return fmt.Sprintf("%d bytes from %d of %s/%s", q.Size, q.Offset, q.SourceDir, q.FileName)
	}
	return ""
}

// sourceRequest is a request without what is a server's own.
func sourceRequest(arg value.Value) string {
	var fields []string
	for _, f := range strings.Fields(text(arg)) {
		name, _, _ := strings.Cut(f, "=")
		switch name {
		case "Source", "HpSource", "DstDir", "DestDiskTag", "Learner", "HpLearner", "SourceDiskTag", "RateLimit", "PartitionIndices[0]":
		case "ChecksumType", "Offset": // of prepares that would have to be learned; none are
		default:
			fields = append(fields, f)
		}
	}
	return strings.Join(fields, " ")
}

func newRecordedSource(t *testing.T, dir string) *recordedSource {
	t.Helper()
	log := logrus.New()
	log.SetLevel(logrus.ErrorLevel)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &recordedSource{t: t, addr: base.MakeRPCAddress(l.Addr().(*net.TCPAddr).AddrPort()), answers: map[string]*recordedAnswer{}}
	open := map[callKey]value.Value{}
	for _, r := range readIndex(t, dir) {
		b, err := os.ReadFile(filepath.Join(dir, r.file))
		if err != nil {
			t.Fatal(err)
		}
		f, err := wire.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		e, ok := registry.Lookup(f.Code)
		if !ok || strings.HasPrefix(r.server, "b-") {
			continue
		}
		k := callKey{r.port + r.server, f.ID}
		if r.request {
			arg := e.Arg()
			if _, err := registry.ReadBody(f.Body, arg); err != nil {
				t.Fatalf("%s: %v", r.file, err)
			}
			open[k] = arg
			continue
		}
		what := ""
		if open[k] != nil {
			what = askedFor(open[k])
		}
		if what == "" {
			continue
		}
		a := e.Result()
		if _, err := registry.ReadBody(f.Body, a); err != nil {
			t.Fatalf("%s: %v", r.file, err)
		}
		s.move(reflect.ValueOf(a).Elem())
		s.answers[what] = &recordedAnswer{request: sourceRequest(open[k]), answer: a}
	}
	c := config.Default().RPC
	srv := rpc.NewServer(rpc.ServerOptions{MaxFrameBytes: c.MaxFrameBytes, MaxConnections: 100, MaxInFlightBytes: c.MaxInFlightBytes, IdleTimeout: time.Minute}, s, nil, logrus.NewEntry(log))
	go srv.Serve(l)
	t.Cleanup(func() { srv.Shutdown(t.Context()) })
	return s
}

// move puts the source's own address in the place of those of all recorded servers.
func (s *recordedSource) move(v reflect.Value) {
	switch x := v.Addr().Interface().(type) {
	case *base.RPCAddress:
		if *x != 0 {
			*x = s.addr
		}
		return
	case *base.HostPort:
		if x.Host != "" {
			ap := s.addr.AddrPort()
			*x = base.MakeHostPort(ap.Addr().String(), ap.Port())
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				s.move(v.Field(i))
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			s.move(v.Index(i))
		}
	}
}

func (s *recordedSource) ServeRPC(r *rpc.Request) {
	e, ok := registry.Lookup(r.Code)
	if !ok {
		s.t.Errorf("a C++ cluster is asked for %s", r.Code)
		r.Drop()
		return
	}
	arg := e.Arg()
	if err := r.DecodeArg(arg); err != nil {
		s.t.Errorf("%s: %v", r.Code, err)
	}
	what := askedFor(arg)
	s.mu.Lock()
	a := s.answers[what]
	if a != nil {
		a.wanted = true
	}
	s.mu.Unlock()
	if a == nil {
		s.t.Errorf("%s wasn't asked for: %s {%s}", what, r.Code, text(arg))
		r.Drop()
		return
	}
	if got := sourceRequest(arg); got != a.request {
		s.t.Errorf("%s: it is asked for by\n{%s}, was\n{%s}", what, got, a.request)
	}
	r.Reply(a.answer)
}

// unwanted lists the answers that nobody wanted.
func (s *recordedSource) unwanted() (list []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for what, a := range s.answers {
		if !a.wanted {
			list = append(list, what)
		}
	}
	slices.Sort(list)
	return list
}
