package dashboard

import (
	"fmt"
	"html/template"
	"net/url"
	"strings"
	"time"

	"pegasus/base/judge"
	"pegasus/gen/placement"
)

// size writes bytes for people.
func size(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	v, i := float64(n), 0
	for ; v >= 1024 && i < len(units)-1; i++ {
		v /= 1024
	}
	switch {
	case i == 0:
		return fmt.Sprintf("%d B", n)
	case v >= 100:
		return fmt.Sprintf("%.0f %s", v, units[i])
	}
	return fmt.Sprintf("%.3g %s", v, units[i])
}

// ago writes how long ago a moment was; "" for none.
func ago(t time.Time) string {
	if t.IsZero() || t.Unix() <= 0 {
		return ""
	}
	d := time.Since(t)
	switch {
	case d < time.Second:
		return "now"
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	}
	return fmt.Sprintf("%d days ago", int(d.Hours()/24))
}

// tone is the CSS class of a health: good, warn or bad. Colour never stands alone, the word is beside it.
func tone(h judge.Health) string {
	switch {
	case h == judge.Healthy:
		return "good"
	case h < judge.InDoubt:
		return "warn"
	}
	return "bad"
}

var functions = template.FuncMap{
	"size": size,
	"ago":  ago,
	"ms": func(ms int64) time.Time {
		if ms <= 0 {
			return time.Time{}
		}
		return time.UnixMilli(ms)
	},
	"stamp": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
	"path":  url.PathEscape,
	"lower": strings.ToLower,
	"word":  func(state int32) string { return judge.Health(state).String() },
	"tone":  func(state int32) string { return tone(judge.Health(state)) },
	"mega":  func(n int64) int64 { return n << 20 },
	"percent": func(n, of int64) int64 {
		if of <= 0 {
			return 0
		}
		return 100 * n / of
	},
	"role": func(r placement.NodeRole) string {
		switch r {
		case placement.NODE_NO_PRIMARIES:
			return "no primaries"
		case placement.NODE_LEAVING:
			return "being taken out"
		}
		return "full"
	},
	"kind": func(k placement.MoveKind) string {
		switch k {
		case placement.MOVE_PROMOTE:
			return "make primary"
		case placement.MOVE_COPY:
			return "copy, then remove"
		}
		return "add a copy"
	},
	"sec": func(s int64) time.Time {
		if s <= 0 {
			return time.Time{}
		}
		return time.Unix(s, 0)
	},
	"parts": parts,
	"least": func(a, b float64) bool { return a < b },
	"prev":  func(n int) int { return n - 1 },
	"next":  func(n int) int { return n + 1 },
	"sub":   func(a int, b int64) int64 { return int64(a) - b },
	"used":  func(total, free int64) int64 { return total - free },
	// bare is an enumeration's name without what all of its names begin with.
	"bare": func(s string) string {
		if _, after, ok := strings.Cut(s, "_"); ok {
			return strings.ReplaceAll(after, "_", " ")
		}
		return s
	},
	"i64": func(n any) int64 {
		switch n := n.(type) {
		case int:
			return int64(n)
		case int32:
			return int64(n)
		case int64:
			return n
		}
		return 0
	},
}
