package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"pegasus/cli"
)

// shell reads commands, and carries them out as if they had been given to the program.
type shell struct {
	flags    []string // that every command gets which has them
	table    string   // of `use`
	out, err io.Writer
	in       io.Reader // of commands that ask
}

func shellCmd() *cobra.Command {
	f := &clientFlags{}
	c := &cobra.Command{Use: "shell", Short: "Give the same commands at a prompt, with history and completion", Args: wantArgs(0, 0),
		Long: "Give the same commands at a prompt, with history (arrow keys) and completion (Tab). `use TABLE` chooses the table of commands on\n" +
			"rows, which is left out then; `use` alone chooses none. `exit`, or Ctrl-D, ends it. Words are separated by spaces; quotes, ' and \",\n" +
			"keep them together. Without a terminal the commands are read line by line, and the first that fails ends it.",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			s := &shell{flags: []string{"--meta", strings.Join(f.metas, ",")}, out: c.OutOrStdout(), err: c.ErrOrStderr(), in: c.InOrStdin()}
			if in, ok := s.in.(*os.File); ok && cli.IsTerminal(in) && cli.IsTerminal(s.out) {
				return s.prompt(in)
			}
			return s.script(c.Context(), s.in)
		}}
	f.add(c)
	return c
}

// script carries out the lines of a file or pipe.
func (s *shell) script(ctx context.Context, in io.Reader) error {
	s.in = strings.NewReader("") // the lines are commands, and no answers
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for n := 1; lines.Scan(); n++ {
		status, done := s.line(ctx, lines.Text())
		if status != 0 {
			return &lineError{n, status}
		}
		if done || ctx.Err() != nil {
			break
		}
	}
	return lines.Err()
}

// lineError is a line that failed; its command has told why.
type lineError struct{ line, status int }

func (e *lineError) Error() string   { return fmt.Sprintf("line %d failed", e.line) }
func (e *lineError) ExitStatus() int { return e.status }

// line carries out one line. done is true if it ends the shell.
func (s *shell) line(ctx context.Context, text string) (status int, done bool) {
	args, err := splitWords(text)
	if err != nil {
		fmt.Fprintln(s.err, "pegasus:", err)
		return cli.ExitUsage, false
	}
	if len(args) > 0 && args[0] == "pegasus" { // as it stands in documents
		args = args[1:]
	}
	if len(args) == 0 || strings.HasPrefix(args[0], "#") {
		return 0, false
	}
	switch args[0] {
	case "exit", "quit":
		return 0, true
	case "use":
		if len(args) > 2 {
			fmt.Fprintln(s.err, "pegasus: use takes one table, or none")
			return cli.ExitUsage, false
		}
		s.table = append(args, "")[1]
		return 0, false
	case "shell":
		fmt.Fprintln(s.err, "pegasus: this is the shell")
		return cli.ExitUsage, false
	}
	return runIn(ctx, s.args(args), s.in, s.out, s.err), false
}

// args are the arguments of a command with the table and the flags that the shell adds.
func (s *shell) args(args []string) []string {
	c, rest, err := newRoot().Find(args)
	if err != nil {
		return args
	}
	if s.table != "" && c.HasParent() && !c.Parent().HasParent() && slices.Contains(strings.Fields(c.Use), "TABLE") && c.GroupID == "data" {
		args = append(slices.Clone(args[:len(args)-len(rest)]), append([]string{s.table}, rest...)...)
	}
	if c.Flag("meta") != nil && !slices.ContainsFunc(args, func(a string) bool { return a == "--meta" || strings.HasPrefix(a, "--meta=") }) {
		path := len(strings.Fields(c.CommandPath())) - 1
		args = slices.Insert(slices.Clone(args), min(path, len(args)), s.flags...)
	}
	return args
}

// historyFile is where lines are kept from one shell to the next, "" if nowhere.
func historyFile() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "pegasus", "history")
}

// maxHistory is how many lines are kept.
const maxHistory = 1000

// history keeps the lines that were typed, the oldest first.
type history struct {
	lines []string
	file  string
}

func openHistory(file string) *history {
	h := &history{file: file}
	if b, err := os.ReadFile(file); err == nil {
		h.lines = strings.FieldsFunc(string(b), func(r rune) bool { return r == '\n' })
		h.lines = h.lines[max(0, len(h.lines)-maxHistory):]
	}
	return h
}

// Add implements term.History.
func (h *history) Add(line string) {
	if line = strings.TrimSpace(line); line == "" || len(h.lines) > 0 && h.lines[len(h.lines)-1] == line {
		return
	}
	h.lines = append(h.lines, line)
	h.lines = h.lines[max(0, len(h.lines)-maxHistory):]
}

// Len implements term.History.
func (h *history) Len() int { return len(h.lines) }

// At implements term.History: 0 is the newest.
func (h *history) At(i int) string { return h.lines[len(h.lines)-1-i] }

// save writes the file: nobody else may read what was typed. That it can't be written is no reason to fail.
func (h *history) save() {
	if h.file == "" || os.MkdirAll(filepath.Dir(h.file), 0o700) != nil {
		return
	}
	_ = os.WriteFile(h.file, []byte(strings.Join(h.lines, "\n")+"\n"), 0o600)
}

// prompt reads lines from a terminal.
func (s *shell) prompt(in *os.File) error {
	h := openHistory(historyFile())
	defer h.save()
	fmt.Fprintln(s.out, "`help` lists the commands, Tab completes, `use TABLE` chooses a table, `exit` ends.")
	for {
		text, err := s.ask(in, h)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		// Ctrl-C ends the command, not the shell.
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
		_, done := s.line(ctx, text)
		stop()
		if done {
			return nil
		}
	}
}

// ask reads one line; the terminal is as commands need it before and after.
func (s *shell) ask(in *os.File, h *history) (string, error) {
	was, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return "", err
	}
	defer func() { _ = term.Restore(int(in.Fd()), was) }()
	prompt := "pegasus> "
	if s.table != "" {
		prompt = "pegasus " + cli.Escape([]byte(s.table)) + "> "
	}
	t := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{&keys{in: in}, s.out}, prompt)
	t.History = h
	size := func() {
		if w, hgt, err := term.GetSize(int(in.Fd())); err == nil && w > 0 && hgt > 0 {
			_ = t.SetSize(w, hgt)
		}
	}
	size()
	resized, ended := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(resized, syscall.SIGWINCH)
	defer func() { signal.Stop(resized); close(ended) }()
	go func() {
		for {
			select {
			case <-resized:
				size()
			case <-ended:
				return
			}
		}
	}()
	t.AutoCompleteCallback = func(line string, pos int, key rune) (string, int, bool) {
		if key != '\t' {
			return "", 0, false
		}
		to, all := s.complete(line[:pos])
		if len(all) > 1 && to == line[:pos] {
			fmt.Fprintf(t, "%s\n", strings.Join(all, "  "))
		}
		return to + line[pos:], len(to), true
	}
	return t.ReadLine()
}

// keys reads what is typed. Ctrl-C, by which package term would end, clears the line: to its end, and away with what is before.
type keys struct {
	in   io.Reader
	rest []byte
}

func (k *keys) Read(b []byte) (int, error) {
	if len(k.rest) == 0 {
		typed := make([]byte, len(b))
		n, err := k.in.Read(typed)
		if err != nil {
			return 0, err
		}
		const ctrlC, clearLine = "\x03", "\x05\x15" // Ctrl-E, Ctrl-U
		k.rest = bytes.ReplaceAll(typed[:n], []byte(ctrlC), []byte(clearLine))
	}
	n := copy(b, k.rest)
	k.rest = k.rest[n:]
	return n, nil
}

// complete completes the last word of a line, as far as all that it can become begin the same, and returns these.
func (s *shell) complete(line string) (to string, all []string) {
	args, err := splitWords(line)
	if err != nil {
		return line, nil
	}
	typed := ""
	if len(args) > 0 && !strings.HasSuffix(line, " ") {
		typed, args = args[len(args)-1], args[:len(args)-1]
	}
	switch {
	case len(args) == 0:
		all = begins([]string{"use", "exit"}, typed)
	case args[0] == "use":
		args = []string{"get"} // whose first argument is a table
		if s.table != "" {
			s = &shell{flags: s.flags}
		}
	}
	if _, _, err := newRoot().Find(args); err != nil {
		return line, nil // else cobra says so, in the middle of the line
	}
	var out bytes.Buffer
	root := newRoot()
	root.SetOut(&out)
	root.SetErr(io.Discard)
	root.SetArgs(append([]string{cobra.ShellCompNoDescRequestCmd}, append(s.args(args), typed)...))
	if root.Execute() != nil {
		return line, nil
	}
	for l := range strings.Lines(out.String()) {
		if l = strings.TrimSuffix(l, "\n"); l != "" && !strings.HasPrefix(l, ":") && strings.HasPrefix(l, typed) {
			all = append(all, l)
		}
	}
	if len(all) == 0 {
		return line, nil
	}
	slices.Sort(all)
	same := all[0]
	for _, a := range all[1:] {
		n := 0
		for n < min(len(same), len(a)) && same[n] == a[n] {
			n++
		}
		same = same[:n]
	}
	if strings.ContainsAny(same, " '\"\\") {
		return line, all // it would have to be quoted
	}
	to = strings.TrimSuffix(line, typed) + same
	if len(all) == 1 && !strings.HasSuffix(same, "=") {
		to += " "
	}
	return to, all
}

// splitWords splits a line at spaces; ' and " keep words together, and hold each other. Nothing else is special.
func splitWords(line string) ([]string, error) {
	var out []string
	var word strings.Builder
	quote, in := rune(0), false
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '\'' || r == '"'):
			quote, in = r, true
		case quote == 0 && (r == ' ' || r == '\t'):
			if in {
				out = append(out, word.String())
			}
			word.Reset()
			in = false
		default:
			word.WriteRune(r)
			in = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("the quote %c isn't closed", quote)
	}
	if in {
		out = append(out, word.String())
	}
	return out, nil
}
