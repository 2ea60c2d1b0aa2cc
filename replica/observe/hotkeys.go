package observe

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"pegasus/base"
	"pegasus/gen/replicaadmin"
	"pegasus/remotecmd"
	"pegasus/remotecmd/answer"
	"pegasus/replica/observe/hotkey"
	"pegasus/rpc"
)

// sketchSpan is how long a sketch counts before it shows what it saw.
const sketchSpan = 10 * time.Second

// Tick follows the hash keys of all replicas.
func (o *Observer) Tick(now time.Time) {
	limits := o.options.Load().HotKeys
	turn := now.Sub(o.turned) >= sketchSpan
	if turn {
		o.turned = now
	}
	for _, r := range o.replicas() {
		for i, k := range []*keyUse{&r.reads, &r.writes} {
			if turn {
				k.sketch.Turn(now)
			}
			if news := k.collect.Analyse(now, limits); news != "" {
				key, _ := k.collect.Result()
				r.Log.Warnf("detection of a hot key of %s: %s: %s", [...]string{"reads", "writes"}[i], news, o.quote(key))
			}
		}
	}
}

// detect starts, stops or asks after a detection. What it says is upstream's, word for
// word, because its tools show it.
func (o *Observer) detect(_ *rpc.Request, q *replicaadmin.DetectHotkeyRequest, a *replicaadmin.DetectHotkeyResponse) {
	rs := o.replicas()
	i := slices.IndexFunc(rs, func(r *Replica) bool { return r.Gpid == q.Pid })
	if i < 0 {
		a.Err = base.ErrObjectNotFound
		return
	}
	var k *keyUse
	var what string
	switch q.Type {
	case replicaadmin.READ:
		k, what = &rs[i].reads, "replication::hotkey_type::READ"
	case replicaadmin.WRITE:
		k, what = &rs[i].writes, "replication::hotkey_type::WRITE"
	}
	switch {
	case q.Action < replicaadmin.START || q.Action > replicaadmin.QUERY:
		a.Err, a.ErrHint = base.ErrInvalidParameters, base.Some("invalid detect_action")
		return
	case k == nil:
		a.Err, a.ErrHint = base.ErrInvalidParameters, base.Some("invalid hotkey_type")
		return
	}
	c := &k.collect
	a.Err = base.ErrOK
	switch q.Action {
	case replicaadmin.STOP:
		c.Stop()
	case replicaadmin.QUERY:
		key, ok := c.Result()
		if !ok {
			a.Err, a.ErrHint = base.ErrBusy, base.Some("Can't get hotkey now, now state: "+c.State().String())
			return
		}
		a.HotkeyResult = base.Some(cEscape(key))
	case replicaadmin.START:
		switch was := c.Start(time.Now()); was {
		case hotkey.Stopped:
			a.ErrHint = base.Some("starting to detect " + what + " hotkey")
		case hotkey.Finished:
			key, _ := c.Result()
			a.Err = base.ErrBusy
			a.ErrHint = base.Some(what + " hotkey result has been found: " + cEscape(key) + ", you can send a stop rpc to restart hotkey detection")
		default:
			a.Err = base.ErrBusy
			a.ErrHint = base.Some("still detecting " + what + " hotkey, state is " + was.String())
		}
	}
}

// cEscape writes bytes as upstream's tools show them: what isn't printable ASCII in
// hexadecimal.
func cEscape(b []byte) string {
	const digits = "0123456789ABCDEF"
	var s strings.Builder
	for _, c := range b {
		switch {
		case c == '\n':
			s.WriteString(`\n`)
		case c == '\r':
			s.WriteString(`\r`)
		case c == '\t':
			s.WriteString(`\t`)
		case c == '"' || c == '\'' || c == '\\':
			s.WriteByte('\\')
			s.WriteByte(c)
		case c >= ' ' && c < 0x7f:
			s.WriteByte(c)
		default:
			s.WriteString(`\x`)
			s.WriteByte(digits[c>>4])
			s.WriteByte(digits[c&15])
		}
	}
	return s.String()
}

// hotKeysCommand shows the heaviest hash keys of primaries, as JSON.
func (o *Observer) hotKeysCommand(args []string) string {
	if len(args) > 1 {
		return `{"error":"use: replica.hotkeys [app_id]"}`
	}
	out := []answer.HotKeys{}
	for _, r := range o.replicas() {
		if len(args) == 1 && args[0] != strconv.Itoa(int(r.Gpid.AppID)) {
			continue
		}
		h := answer.HotKeys{Partition: r.Gpid.String()}
		h.Reads, h.ReadRows = hottest(&r.reads)
		h.Writes, h.WriteRows = hottest(&r.writes)
		if len(h.Reads)+len(h.Writes) > 0 {
			out = append(out, h)
		}
	}
	return remotecmd.JSON(out)
}

// shownKeys is how many keys of a partition are shown.
const shownKeys = 5

func hottest(k *keyUse) (keys []answer.HotKey, rows float64) {
	t := k.sketch.Top()
	keys = []answer.HotKey{}
	for _, h := range t.Keys[:min(len(t.Keys), shownKeys)] {
		keys = append(keys, answer.HotKey{Key: slices.Clone(h.Key), PerSecond: h.PerSecond, Percent: h.Share * 100})
	}
	return keys, t.PerSecond
}
