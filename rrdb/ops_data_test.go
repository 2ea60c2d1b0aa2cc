package rrdb

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/cockroachdb/pebble/v2/vfs"

	"pegasus/base"
	"pegasus/base/tbin"
	idl "pegasus/gen/rrdb"
	"pegasus/gen/value"
)

// TestOperations runs the files in testdata/ops: clients' operations and what is answered.
// In arguments \xNN stands for a byte and "-" for an empty string.
func TestOperations(t *testing.T) {
	datadriven.Walk(t, "testdata/ops", func(t *testing.T, path string) {
		var s *script
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if s == nil {
				s = &script{harness: newHarness(t, nil)}
			}
			s.t = t
			return s.run(d)
		})
	})
}

type script struct {
	*harness
	d       *datadriven.TestData
	context int64 // of the scan that was answered last
}

func (s *script) run(d *datadriven.TestData) string {
	s.d = d
	switch d.Cmd {
	case "open":
		s.close()
		s.shared.Close()
		s.reconfigure()
		s.shared = s.newShared()
		s.fs = vfs.NewCrashableMem()
		s.open(true)
		return ""
	case "now":
		s.clock.set(uint32(s.num("t")))
		return ""
	case "envs":
		m := map[string]string{}
		for _, a := range d.CmdArgs {
			m[a.Key] = a.Vals[0]
		}
		s.store.SetEnvs(m)
		return ""
	case "partitions":
		s.store.SetPartitionCount(int32(s.num("n")))
		return ""
	case "flush":
		s.flush()
		return fmt.Sprintf("flushed %d", s.store.LastFlushed())
	case "crash":
		s.crash()
		return fmt.Sprintf("applied %d", s.store.LastApplied())
	case "propose":
		return fmt.Sprintf("decree %d", s.propose())
	case "apply":
		s.apply()
		return fmt.Sprintf("applied %d", s.store.LastApplied())
	case "discard":
		s.payload = nil
		s.ov.Discard()
		return ""
	case "fill":
		for i := range int(s.num("n")) {
			s.payload = appendRowOp(s.payload, s.bytes("h"), fmt.Appendf(nil, "%04d", i),
				Op{Value: s.bytes("v"), ExpireTS: uint32(s.num("e"))})
		}
		return fmt.Sprintf("decree %d", func() int64 { d := s.propose(); s.apply(); return d }())
	}
	if out, ok := s.readOp(); ok {
		return out
	}
	return s.writeOp()
}

func (s *script) reconfigure() {
	s.config = smallConfig()
	for key, field := range map[string]*int{"max-iterations": &s.config.Limits.ScanRows, "multi-get-iterations": &s.config.Limits.MultiGetRows} {
		if s.d.HasArg(key) {
			*field = int(s.num(key))
		}
	}
	if s.d.HasArg("multi-get-bytes") {
		s.config.Limits.MultiGetBytes = int(s.num("multi-get-bytes"))
	}
	s.clock.step = 0
	if s.d.HasArg("slow-clock") {
		// Every look at the clock takes a second of it.
		s.clock.step = 1e9
		s.config.Limits.IterationTime = 1
	}
}

func (s *script) readOp() (string, bool) {
	switch s.d.Cmd {
	case "get":
		var r idl.ReadResponse
		if err := s.ask(base.RPCGet, s.blob(), &r); err != nil {
			return err.Error(), true
		}
		return fmt.Sprintf("error=%d value=%s%s", r.Error, text(r.Value), s.origin(r.AppId, r.PartitionIndex, r.Server)), true
	case "ttl":
		var r idl.TtlResponse
		if err := s.ask(base.RPCTTL, s.blob(), &r); err != nil {
			return err.Error(), true
		}
		return fmt.Sprintf("error=%d ttl=%d%s", r.Error, r.TtlSeconds, s.origin(r.AppId, r.PartitionIndex, r.Server)), true
	case "sortkey-count":
		var r idl.CountResponse
		h := value.Blob(s.bytes("h"))
		if err := s.ask(base.RPCSortkeyCount, &h, &r); err != nil {
			return err.Error(), true
		}
		return fmt.Sprintf("error=%d count=%d%s", r.Error, r.Count, s.origin(r.AppId, r.PartitionIndex, r.Server)), true
	case "batch-get":
		var arg idl.BatchGetRequest
		for _, line := range lines(s.d.Input) {
			h, k, _ := strings.Cut(line, " ")
			arg.Keys = append(arg.Keys, idl.FullKey{HashKey: raw(h), SortKey: raw(k)})
		}
		var r idl.BatchGetResponse
		if err := s.ask(base.RPCBatchGet, &arg, &r); err != nil {
			return err.Error(), true
		}
		out := fmt.Sprintf("error=%d%s", r.Error, s.origin(r.AppId, r.PartitionIndex, r.Server))
		for _, v := range r.Data {
			out += fmt.Sprintf("\n%s %s = %s", text(v.HashKey), text(v.SortKey), text(v.Value))
		}
		return out, true
	case "multi-get":
		return s.multiGet(), true
	case "get-scanner":
		return s.getScanner(), true
	case "scan":
		var r idl.ScanResponse
		arg := idl.ScanRequest{ContextId: s.context}
		if s.d.HasArg("id") {
			arg.ContextId = s.num("id")
		}
		if err := s.ask(base.RPCScan, &arg, &r); err != nil {
			return err.Error(), true
		}
		return s.page(&r), true
	case "clear-scanner":
		id := value.I64(s.context)
		if answered, err := s.read(base.RPCClearScanner, &id, &idl.ScanResponse{}); answered || err != nil {
			return fmt.Sprintf("answered %t, %v", answered, err), true
		}
		return "no answer", true
	}
	return "", false
}

func (s *script) multiGet() string {
	arg := idl.MultiGetRequest{
		HashKey: s.bytes("h"), MaxKvCount: int32(s.num("count")), MaxKvSize: int32(s.num("size")), NoValue: s.d.HasArg("no-value"),
		StartSortkey: s.bytes("start"), StopSortkey: s.bytes("stop"), Reverse: s.d.HasArg("reverse"),
		StartInclusive: !s.d.HasArg("start-exclusive"), StopInclusive: s.d.HasArg("stop-inclusive"),
		SortKeyFilterType: idl.FilterType(s.num("filter")), SortKeyFilterPattern: s.bytes("pattern"),
	}
	for _, line := range lines(s.d.Input) {
		arg.SortKeys = append(arg.SortKeys, raw(line))
	}
	var r idl.MultiGetResponse
	if err := s.ask(base.RPCMultiGet, &arg, &r); err != nil {
		return err.Error()
	}
	out := fmt.Sprintf("error=%d%s", r.Error, s.origin(r.AppId, r.PartitionIndex, r.Server))
	if len(r.Kvs) > 20 {
		return fmt.Sprintf("%s\n%d rows, %s to %s", out, len(r.Kvs), r.Kvs[0].Key, r.Kvs[len(r.Kvs)-1].Key)
	}
	return out + rows(r.Kvs)
}

func (s *script) getScanner() string {
	arg := idl.GetScannerRequest{
		StartKey: s.bytes("start-key"), StopKey: s.bytes("stop-key"),
		StartInclusive: !s.d.HasArg("start-exclusive"), StopInclusive: s.d.HasArg("stop-inclusive"),
		BatchSize: int32(s.num("batch")), NoValue: s.d.HasArg("no-value"),
		HashKeyFilterType: idl.FilterType(s.num("hash-filter")), HashKeyFilterPattern: s.bytes("hash-pattern"),
		SortKeyFilterType: idl.FilterType(s.num("sort-filter")), SortKeyFilterPattern: s.bytes("sort-pattern"),
	}
	if s.d.HasArg("h") {
		arg.StartKey = base.AppendKey(nil, s.bytes("h"), s.bytes("start"))
		if !s.d.HasArg("stop-key") {
			arg.StopKey = base.NextKey(nil, base.AppendKey(nil, s.bytes("h"), s.bytes("stop")))
		}
	} else if !s.d.HasArg("start-key") {
		arg.StartKey, arg.StopKey = []byte{0, 0}, []byte{0xff, 0xff}
	}
	for key, field := range map[string]*base.Opt[bool]{"validate": &arg.ValidatePartitionHash, "expiry": &arg.ReturnExpireTs,
		"full-scan": &arg.FullScan, "only-count": &arg.OnlyReturnCount} {
		if s.d.HasArg(key) {
			*field = base.Some(s.num(key) != 0)
		}
	}
	var r idl.ScanResponse
	if err := s.ask(base.RPCGetScanner, &arg, &r); err != nil {
		return err.Error()
	}
	return s.page(&r)
}

func (s *script) page(r *idl.ScanResponse) string {
	what := "more"
	switch {
	case r.ContextId == scanCompleted:
		what = "completed"
	case r.ContextId == 0:
		what = "none"
	case r.ContextId == s.context:
		what = "the same as before"
	case r.ContextId < 0:
		what = "negative"
	}
	if r.ContextId > 0 {
		s.context = r.ContextId
	}
	out := fmt.Sprintf("error=%d context=%s%s", r.Error, what, s.origin(r.AppId, r.PartitionIndex, r.Server))
	if r.KvCount.Set {
		out += fmt.Sprintf(" count=%d", r.KvCount.V)
	}
	if len(r.Kvs) > 20 {
		return fmt.Sprintf("%s\n%d rows", out, len(r.Kvs))
	}
	for i := range r.Kvs {
		h, k, _ := base.SplitKey(r.Kvs[i].Key)
		r.Kvs[i].Key = fmt.Appendf(nil, "%s %s", text(h), text(k))
	}
	return out + rows(r.Kvs)
}

func rows(kvs []idl.KeyValue) string {
	var out strings.Builder
	for _, kv := range kvs {
		fmt.Fprintf(&out, "\n%s = %s", kv.Key, text(kv.Value))
		if kv.ExpireTsSeconds.Set {
			fmt.Fprintf(&out, " expires=%d", kv.ExpireTsSeconds.V)
		}
	}
	return out.String()
}

func (s *script) writeOp() string {
	d := s.d
	var code string
	var arg tbin.Encoder
	var answer tbin.Decoder = &idl.UpdateResponse{}
	switch d.Cmd {
	case "put":
		code, arg = base.RPCPut, &idl.UpdateRequest{Key: s.key(), Value: s.bytes("v"), ExpireTsSeconds: int32(s.num("e"))}
		if d.HasArg("type") {
			arg.(*idl.UpdateRequest).Type = base.Some(idl.UpdateType(s.num("type")))
		}
	case "remove":
		code, arg = base.RPCRemove, s.blob()
	case "multi-put":
		r := &idl.MultiPutRequest{HashKey: s.bytes("h"), ExpireTsSeconds: int32(s.num("e"))}
		for _, line := range lines(d.Input) {
			k, v, _ := strings.Cut(line, " ")
			r.Kvs = append(r.Kvs, idl.KeyValue{Key: raw(k), Value: raw(v)})
		}
		code, arg = base.RPCMultiPut, r
	case "multi-remove":
		r := &idl.MultiRemoveRequest{HashKey: s.bytes("h"), MaxCount: 1}
		for _, line := range lines(d.Input) {
			r.SortKeys = append(r.SortKeys, raw(line))
		}
		code, arg, answer = base.RPCMultiRemove, r, &idl.MultiRemoveResponse{}
	case "incr":
		code, answer = base.RPCIncr, &idl.IncrResponse{}
		arg = &idl.IncrRequest{Key: s.key(), Increment: s.num("by"), ExpireTsSeconds: int32(s.num("e"))}
	case "check-and-set":
		code, answer = base.RPCCheckAndSet, &idl.CheckAndSetResponse{}
		arg = &idl.CheckAndSetRequest{
			HashKey: s.bytes("h"), CheckSortKey: s.bytes("s"), CheckType: idl.CasCheckType(s.num("check")), CheckOperand: s.bytes("operand"),
			SetDiffSortKey: d.HasArg("diff"), SetSortKey: s.bytes("set"), SetValue: s.bytes("v"), SetExpireTsSeconds: int32(s.num("e")),
			ReturnCheckValue: d.HasArg("return"),
		}
	case "check-and-mutate":
		code, answer = base.RPCCheckAndMutate, &idl.CheckAndMutateResponse{}
		r := &idl.CheckAndMutateRequest{
			HashKey: s.bytes("h"), CheckSortKey: s.bytes("s"), CheckType: idl.CasCheckType(s.num("check")), CheckOperand: s.bytes("operand"),
			ReturnCheckValue: d.HasArg("return"),
		}
		for _, line := range lines(d.Input) {
			f := append(strings.Fields(line), "", "", "")
			op, _ := strconv.Atoi(f[0])
			e, _ := strconv.Atoi(f[3])
			r.MutateList = append(r.MutateList, idl.Mutate{Operation: idl.MutateOperation(op), SortKey: raw(f[1]), Value: raw(f[2]), SetExpireTsSeconds: int32(e)})
		}
		arg = r
	default:
		s.t.Fatalf("no such command: %s", d.Cmd)
	}
	if d.HasArg("pending") {
		reply, err := s.evaluate(code, arg)
		if err != nil {
			return err.Error()
		}
		s.decode(&reply, answer)
	} else if err := s.write(code, arg, answer); err != nil {
		return err.Error()
	}
	return s.answer(answer)
}

func (s *script) answer(a tbin.Decoder) string {
	switch r := a.(type) {
	case *idl.UpdateResponse:
		return fmt.Sprintf("error=%d decree=%d%s", r.Error, r.Decree, s.origin(r.AppId, r.PartitionIndex, r.Server))
	case *idl.MultiRemoveResponse:
		return fmt.Sprintf("error=%d count=%d decree=%d%s", r.Error, r.Count, r.Decree, s.origin(r.AppId, r.PartitionIndex, r.Server))
	case *idl.IncrResponse:
		return fmt.Sprintf("error=%d new_value=%d decree=%d%s", r.Error, r.NewValue, r.Decree, s.origin(r.AppId, r.PartitionIndex, r.Server))
	case *idl.CheckAndSetResponse:
		return fmt.Sprintf("error=%d returned=%t exist=%t value=%s decree=%d%s", r.Error, r.CheckValueReturned, r.CheckValueExist,
			text(r.CheckValue), r.Decree, s.origin(r.AppId, r.PartitionIndex, r.Server))
	case *idl.CheckAndMutateResponse:
		return fmt.Sprintf("error=%d returned=%t exist=%t value=%s decree=%d%s", r.Error, r.CheckValueReturned, r.CheckValueExist,
			text(r.CheckValue), r.Decree, s.origin(r.AppId, r.PartitionIndex, r.Server))
	}
	return fmt.Sprintf("%T", a)
}

// ask reads, and makes a missing answer an error.
func (s *script) ask(code string, arg tbin.Encoder, answer tbin.Decoder) error {
	answered, err := s.read(code, arg, answer)
	if err == nil && !answered {
		err = fmt.Errorf("no answer")
	}
	return err
}

// origin is empty if the answer says rightly where it comes from.
func (s *script) origin(app, partition int32, server string) string {
	if app == 1 && partition == 2 && server == "node:34801" {
		return ""
	}
	return fmt.Sprintf(" from %d.%d at %q", app, partition, server)
}

func (s *script) key() []byte {
	if s.d.HasArg("key") {
		return s.bytes("key")
	}
	if s.d.HasArg("long-hash-key") {
		return append(make([]byte, s.num("long-hash-key")), s.bytes("s")...)
	}
	return base.AppendKey(nil, s.bytes("h"), s.bytes("s"))
}

func (s *script) blob() *value.Blob {
	b := value.Blob(s.key())
	return &b
}

func (s *script) num(key string) int64 {
	for _, a := range s.d.CmdArgs {
		if a.Key == key {
			n, err := strconv.ParseInt(a.Vals[0], 0, 64)
			if err != nil {
				s.t.Fatalf("%s: %v", s.d.Pos, err)
			}
			return n
		}
	}
	return 0
}

func (s *script) bytes(key string) []byte {
	for _, a := range s.d.CmdArgs {
		if a.Key == key {
			if strings.HasPrefix(a.Vals[0], "repeat:") {
				n, _ := strconv.Atoi(a.Vals[0][len("repeat:"):])
				return []byte(strings.Repeat("a", n))
			}
			return raw(a.Vals[0])
		}
	}
	return nil
}

func lines(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(s, "\n"), "\n")
}

// raw turns the written form of bytes into bytes.
func raw(s string) []byte {
	if s == "-" {
		return []byte{}
	}
	v, err := strconv.Unquote(`"` + s + `"`)
	if err != nil {
		panic(fmt.Sprintf("%q: %v", s, err))
	}
	return []byte(v)
}

// text is the inverse of raw.
func text(b []byte) string {
	if len(b) == 0 {
		return "-"
	}
	if len(b) > 40 {
		return fmt.Sprintf("(%d bytes)", len(b))
	}
	q := strconv.QuoteToASCII(string(b))
	return q[1 : len(q)-1]
}
