package cppconfig

import (
	"fmt"
	"io"
	"strings"
)

// order is how the report is sorted: first what was done, then what asks for a decision.
var order = []struct {
	fate  Fate
	title string
	each  bool // a line for each key; else for all keys of a section that have one reason
}{
	{Taken, "Taken over", true},
	{Kept, "At upstream's default, so ours holds", true},
	{Needless, "Needless here", false},
	{Other, "Left out, for the servers of the other role", false},
	{Unsupported, "Not supported", true},
	{Open, "To be filled in", true},
	{Refused, "Not taken over, because the value is none here", true},
	{Unknown, "Unknown", true},
}

// WriteReport writes what became of each key.
func (r *Result) WriteReport(w io.Writer) error {
	var b strings.Builder
	var sum []string
	for _, o := range order {
		n := r.Count(o.fate)
		if n == 0 {
			continue
		}
		sum = append(sum, fmt.Sprintf("%d %s", n, o.fate))
		fmt.Fprintf(&b, "%s (%d):\n", o.title, n)
		if o.each {
			for _, l := range r.Lines {
				if l.Fate == o.fate {
					b.WriteString("  " + l.String() + "\n")
				}
			}
		} else {
			r.grouped(&b, o.fate)
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "%d keys: %s\n", len(r.Lines), strings.Join(sum, ", "))
	_, err := io.WriteString(w, b.String())
	return err
}

// String is a line of the report.
func (l Line) String() string {
	s := printable(fmt.Sprintf("[%s] %s = %s", l.Section, l.Name, l.Value))
	if l.TOML != "" {
		s += " -> " + l.To + " = " + l.TOML
	} else if l.To != "" {
		s += " (" + l.To + ")"
	}
	if l.Why != "" {
		s += ": " + printable(l.Why)
	}
	return s
}

func (r *Result) grouped(b *strings.Builder, f Fate) {
	type group struct{ section, why string }
	var groups []group
	names := map[group][]string{}
	for _, l := range r.Lines {
		if l.Fate == f {
			g := group{l.Section, l.Why}
			if names[g] == nil {
				groups = append(groups, g)
			}
			names[g] = append(names[g], l.Name)
		}
	}
	for _, g := range groups {
		fmt.Fprintf(b, "  %s\n", printable(fmt.Sprintf("[%s] %s: %s", g.section, strings.Join(names[g], ", "), g.why)))
	}
}

// Reference writes the table of docs/migrating.md.
func Reference() []byte {
	var b strings.Builder
	write := func(title, columns string, f Fate, row func(r rule, names string) string) {
		fmt.Fprintf(&b, "### %s\n\n%s\n%s\n", title, columns, strings.Repeat("|---", strings.Count(columns, "|")-1)+"|")
		for _, r := range rules {
			if r.fate != f {
				continue
			}
			names := "`" + strings.Join(strings.Fields(r.names), "`, `") + "`"
			b.WriteString(row(r, names) + "\n")
		}
		b.WriteString("\n")
	}
	write("Taken over", "| C++ | here | |", Taken, func(r rule, names string) string {
		return fmt.Sprintf("| `[%s]` %s | `%s` | %s |", r.section, names, strings.ReplaceAll(r.to, ", ", "`, `"), r.why)
	})
	write("Not supported", "| C++ | unless it is | what there is |", Unsupported, func(r rule, names string) string {
		off := "empty"
		if r.off != "" {
			off = "`" + strings.ReplaceAll(r.off, "|", "`, `") + "`"
		}
		return fmt.Sprintf("| `[%s]` %s | %s | %s |", r.section, names, off, r.why)
	})
	write("Needless here", "| C++ | why |", Needless, func(r rule, names string) string {
		return fmt.Sprintf("| `[%s]` %s | %s |", r.section, names, r.why)
	})
	return []byte(strings.TrimSuffix(b.String(), "\n"))
}
