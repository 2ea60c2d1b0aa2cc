package appenv

import (
	"fmt"
	"math/bits"
	"strings"
)

// Throttle is a parsed throttling setting: above Units a second requests are delayed, or
// refused after a delay. A part that isn't set has Units 0 and Set false.
type Throttle struct {
	Delay, Reject ThrottlePart
}

// ThrottlePart is one of the two limits.
type ThrottlePart struct {
	Set   bool
	Units uint64 // requests or bytes a second, of the whole table
	MS    uint64 // milliseconds
}

// ParseThrottle reads "<units[K|M]>*<delay|reject>*<ms>", one of each kind at most,
// separated by commas. hint is "" or why upstream refuses it.
func ParseThrottle(s string) (t Throttle, hint string) {
	n := 0
	for arg := range strings.SplitSeq(s, ",") {
		if arg = trim(arg); arg == "" {
			continue
		}
		n++
		if hint = t.add(arg); hint != "" {
			return Throttle{}, hint
		}
	}
	if n == 0 {
		return Throttle{}, "The value shouldn't be empty"
	}
	return t, ""
}

func (t *Throttle) add(arg string) (hint string) {
	f := strings.Split(arg, "*")
	if len(f) != 3 {
		return fmt.Sprintf("The field count of '%s' separated by '*' must be 3", arg)
	}
	units, hint := parseUnits(trim(f[0]))
	if hint != "" {
		return hint
	}
	kind := trim(f[1])
	part := &t.Delay
	switch kind {
	case "delay":
	case "reject":
		part = &t.Reject
	default:
		return fmt.Sprintf("'%s' should be 'delay' or 'reject'", kind)
	}
	ms, ok := parseUint(trim(f[2]))
	switch {
	case !ok:
		return fmt.Sprintf("'%s' should be an unsigned integer", trim(f[2]))
	case part.Set:
		return fmt.Sprintf("duplicate '%s' config", kind)
	}
	*part = ThrottlePart{true, units, ms}
	return ""
}

func trim(s string) string { return strings.TrimRight(strings.TrimLeft(s, " \t"), " \t\r\n") }

// parseUnits reads a number with an optional K or M behind it.
func parseUnits(s string) (units uint64, hint string) {
	mult := uint64(1)
	switch {
	case strings.HasSuffix(s, "M"):
		mult = 1 << 20
	case strings.HasSuffix(s, "K"):
		mult = 1 << 10
	}
	if mult > 1 {
		s = s[:len(s)-1]
	}
	v, ok := parseUint(s)
	if !ok {
		return 0, fmt.Sprintf("'%s' should be an unsigned integer", s)
	}
	over, v := bits.Mul64(v, mult)
	if over != 0 {
		return 0, fmt.Sprintf("'%s' result is overflow", s)
	}
	return v, ""
}

func checkThrottle(s string) string {
	_, hint := ParseThrottle(s)
	return hint
}

// checkSizeThrottle accepts a plain size above 0, or a throttle that refuses above some
// size or only delays.
func checkSizeThrottle(s string) string {
	if v, hint := parseUnits(s); hint == "" && v > 0 {
		return ""
	}
	t, hint := ParseThrottle(s)
	switch {
	case hint != "":
		return hint
	case t.Reject.Units == 0 && !(t.Delay.Set && !t.Reject.Set && !strings.Contains(s, ",")):
		return "reject value should be greater than 0"
	}
	return ""
}

// checkDeny accepts "timeout*all" and its like.
func checkDeny(s string) string {
	how, what, ok := strings.Cut(s, "*")
	how, what = trim(how), trim(what)
	if ok && (how == "timeout" || how == "reconfig") && (what == "all" || what == "write" || what == "read") {
		return ""
	}
	return "Invalid deny client args, valid include: timeout*all, timeout*write, timeout*read; reconfig*all, reconfig*write, reconfig*read"
}
