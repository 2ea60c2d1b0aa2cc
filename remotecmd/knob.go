package remotecmd

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
)

// reply is upstream's answer of a knob: a JSON object, indented by two, "error" among its
// fields.
func reply(fields map[string]any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(fields); err != nil {
		return "ERR: " + err.Error()
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// OK is the answer of a change that was made.
func OK() string { return reply(map[string]any{"error": "ok"}) }

// Show is the answer that shows a value.
func Show(name, value string) string { return reply(map[string]any{"error": "ok", name: value}) }

// Fail is the answer of a change that was refused.
func Fail(format string, args ...any) string {
	return reply(map[string]any{"error": fmt.Sprintf(format, args...)})
}

// Bool returns the command that shows and sets v.
func Bool(name, help string, v *atomic.Bool) Command {
	return Command{Name: name, Args: "<true|false>", Help: help, Shows: WithoutArgs, Run: func(args []string) string {
		switch len(args) {
		case 0:
			return Show(name, strconv.FormatBool(v.Load()))
		case 1:
		default:
			return Fail("ERR: invalid arguments, only one boolean argument is acceptable")
		}
		switch strings.ToLower(args[0]) {
		case "true":
			v.Store(true)
		case "false":
			v.Store(false)
		default:
			return Fail("ERR: invalid arguments, '%s' is not a boolean", args[0])
		}
		return OK()
	}}
}

// Int returns the command that shows v, sets it to a value that valid accepts, and with the
// argument DEFAULT to what it is now.
func Int(name, help string, v *atomic.Int64, valid func(int64) bool) Command {
	def := v.Load()
	return Command{Name: name, Args: "[num | DEFAULT]", Help: help, Shows: WithoutArgs, Run: func(args []string) string {
		switch {
		case len(args) == 0:
			return Show(name, strconv.FormatInt(v.Load(), 10))
		case len(args) > 1:
			return Fail("ERR: invalid arguments '%s', only one argument is acceptable", strings.Join(args, " "))
		case strings.EqualFold(args[0], "DEFAULT"):
			v.Store(def)
			return reply(map[string]any{"error": "ok", name: def})
		}
		n, err := strconv.ParseInt(args[0], 10, 64)
		if err != nil || !valid(n) {
			return Fail("ERR: invalid argument '%s', the value is not acceptable", args[0])
		}
		v.Store(n)
		return OK()
	}}
}

// NotNegative accepts 0 and above, as far as nanoseconds can be made of what may be milliseconds.
func NotNegative(n int64) bool { return n >= 0 && n <= 1<<40 }
