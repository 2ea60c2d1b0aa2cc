package registry_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/gen/consensus"
	"pegasus/gen/dupinternal"
	"pegasus/gen/prepare"
	"pegasus/gen/registry"
	"pegasus/gen/reqmeta"
	"pegasus/gen/value"
	"pegasus/internal/repo"
)

// frame is what one recorded frame says about itself.
type frame struct {
	code     string
	err      string // of a response's header
	response bool
	thft     bool
	body     []byte
}

// TestRecordedFrames decodes every frame that the C++ server and its clients were
// recorded to exchange and demands that it encodes to the same bytes again.
func TestRecordedFrames(t *testing.T) {
	root := repo.Golden(t)
	indexes, err := filepath.Glob(filepath.Join(root, "frames-*", "index.tsv"))
	if err != nil || len(indexes) == 0 {
		t.Fatalf("no frames-*/index.tsv in %s (%v)", root, err)
	}
	total, empty, inner, byCode := 0, 0, 0, map[string]int{}
	for _, index := range indexes {
		for _, row := range readIndex(t, index) {
			name := filepath.Join(filepath.Base(filepath.Dir(index)), row.file)
			if strings.HasPrefix(row.label, "HTTP") {
				continue
			}
			raw, err := os.ReadFile(filepath.Join(filepath.Dir(index), row.file))
			if err != nil {
				t.Fatal(err)
			}
			f, err := parseFrame(raw, row.label)
			if err != nil {
				t.Errorf("%s (%s): %v", name, row.label, err)
				continue
			}
			total++
			byCode[f.code]++
			if len(f.body) == 0 {
				// A one-way RPC's empty answer, or a refusal in the header.
				empty++
				continue
			}
			n, err := roundTrip(f)
			inner += n
			if err != nil {
				t.Errorf("%s (%s): %v\n%x", name, row.label, err, f.body)
			}
		}
	}
	t.Logf("%d frames of %d codes, %d with empty body, %d writes inside of mutations", total, len(byCode), empty, inner)
	if total == 0 {
		t.Error("no frame was read")
	}
}

// roundTrip decodes a frame's body, and the writes inside of it, and encodes them again.
func roundTrip(f frame) (inner int, err error) {
	e, ok := registry.Lookup(f.code)
	if !ok {
		return 0, fmt.Errorf("code %s is not in the registry", f.code)
	}
	var v value.Value
	wantID := int16(0)
	switch {
	case !f.response:
		v = e.Arg()
		if f.thft {
			wantID = 1
		}
	case f.err == string(base.ErrForwardToOthers):
		v = new(base.RPCAddress) // the hint where to go
	case e.Result == nil:
		return 0, fmt.Errorf("an answer of a one-way RPC has a body")
	default:
		v = e.Result()
	}
	if err := same(f.body, wantID, v); err != nil {
		return 0, err
	}
	switch v := v.(type) {
	case *prepare.Body:
		for _, u := range v.Mutation.Updates {
			if u.Code == prepare.WriteEmpty {
				continue
			}
			if err := sameWrite(u.Code, u.Data); err != nil {
				return inner, err
			}
			inner++
		}
	case *consensus.LearnResponse:
		if v.Type != consensus.LT_CACHE {
			break
		}
		var out []byte
		r := tbin.NewReader(v.State.Meta)
		for r.Len() > 0 && r.Err() == nil {
			var m prepare.Mutation
			m.ReadThrift(r)
			out = m.AppendThrift(out)
			inner++
		}
		if r.Err() != nil || !bytes.Equal(out, v.State.Meta) {
			return inner, fmt.Errorf("mutations to learn (%v) encode to\n%x", r.Err(), out)
		}
	case *dupinternal.DuplicateRequest:
		for _, d := range v.Entries {
			if err := sameWrite(string(d.TaskCode.V), d.RawMessage.V); err != nil {
				return inner, err
			}
			inner++
		}
	}
	return inner, nil
}

// sameWrite round-trips a client write that travels inside another message.
func sameWrite(code string, data []byte) error {
	e, ok := registry.Lookup(code)
	if !ok {
		return fmt.Errorf("inner code %s is not in the registry", code)
	}
	if err := same(data, -1, e.Arg()); err != nil {
		return fmt.Errorf("inner %s: %w", code, err)
	}
	return nil
}

// same demands that body decodes into v, came in field id (-1: any), and encodes back.
func same(body []byte, id int16, v value.Value) error {
	got, err := registry.ReadBody(body, v)
	if err != nil {
		return err
	}
	if id >= 0 && got != id {
		return fmt.Errorf("value is in field %d, want %d", got, id)
	}
	if out := registry.AppendBody(nil, got, v); !bytes.Equal(out, body) {
		return fmt.Errorf("%T encodes to\n%x, came from", v, out)
	}
	return nil
}

// parseFrame takes a frame apart as far as its code and body.
func parseFrame(b []byte, label string) (frame, error) {
	f := frame{response: strings.Contains(label, "response"), thft: strings.HasPrefix(label, "THFT")}
	switch {
	case strings.HasPrefix(label, "RDSN"):
		if len(b) < 192 || string(b[:4]) != "RDSN" || len(b) != 192+int(binary.LittleEndian.Uint32(b[16:])) {
			return f, fmt.Errorf("no RDSN frame of %d bytes", len(b))
		}
		f.code, f.err, f.body = cstring(b[40:88]), cstring(b[136:184]), b[192:]
	case f.thft && f.response:
		if len(b) < 4 || int(binary.BigEndian.Uint32(b)) != len(b) {
			return f, fmt.Errorf("length prefix disagrees with %d bytes", len(b))
		}
		r := tbin.NewReader(b[4:])
		f.err = r.String()
		return f, f.message(r)
	case f.thft:
		if len(b) < 16 || string(b[:4]) != "THFT" {
			return f, fmt.Errorf("no THFT frame")
		}
		head, size := 48, binary.BigEndian.Uint32(b[16:])
		if v := binary.BigEndian.Uint32(b[4:]); v == 1 {
			head, size = 16+int(binary.BigEndian.Uint32(b[8:])), binary.BigEndian.Uint32(b[12:])
			if head > len(b) {
				return f, fmt.Errorf("meta runs past the frame")
			}
			var meta reqmeta.ThriftRequestMetaV1
			r := tbin.NewReader(b[16:head])
			meta.ReadThrift(r)
			if r.Err() != nil || r.Len() != 0 || !bytes.Equal(meta.AppendThrift(nil), b[16:head]) {
				return f, fmt.Errorf("meta %x does not round-trip", b[16:head])
			}
		}
		if head+int(size) != len(b) {
			return f, fmt.Errorf("header says %d+%d bytes, frame has %d", head, size, len(b))
		}
		return f, f.message(tbin.NewReader(b[head:]))
	default:
		return f, fmt.Errorf("unknown framing")
	}
	f.code = strings.TrimSuffix(f.code, "_ACK")
	return f, nil
}

// message reads a strict Thrift message begin and takes the rest as body.
func (f *frame) message(r *tbin.Reader) error {
	if v := uint32(r.I32()); v>>16 != 0x8001 {
		return fmt.Errorf("message begins with %#x", v)
	}
	f.code = strings.TrimSuffix(r.String(), "_ACK")
	r.I32()
	f.body = r.Rest()
	return r.Err()
}

func cstring(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	return s
}

type indexRow struct{ file, label string }

func readIndex(t *testing.T, path string) []indexRow {
	t.Helper()
	src, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	var rows []indexRow
	file, label := -1, -1
	for sc := bufio.NewScanner(src); sc.Scan(); {
		cols := strings.Split(sc.Text(), "\t")
		if file < 0 {
			for i, c := range cols {
				switch c {
				case "file":
					file = i
				case "label":
					label = i
				}
			}
			if file < 0 || label < 0 {
				t.Fatalf("%s: no file and label columns", path)
			}
			continue
		}
		rows = append(rows, indexRow{cols[file], cols[label]})
	}
	return rows
}
