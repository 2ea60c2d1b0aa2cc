package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// Bar shows on a terminal how far something is. A nil Bar shows nothing.
type Bar struct {
	w       io.Writer
	columns func() int
	what    string
	began   time.Time
	drawn   time.Time // when it was drawn last; zero: not yet
	now     func() time.Time
}

// NewBar makes a bar if w is a terminal, else it returns nil. what is a word or two.
func NewBar(w io.Writer, what string) *Bar {
	if columnsOf(w) == 0 {
		return nil
	}
	return newBar(w, what, func() int { return columnsOf(w) }, time.Now)
}

func newBar(w io.Writer, what string, columns func() int, now func() time.Time) *Bar {
	return &Bar{w: w, columns: columns, what: what, began: now(), now: now}
}

const drawEvery = 200 * time.Millisecond

// Bytes shows that done of all bytes are done. It may be called often.
func (b *Bar) Bytes(done, all int64) {
	if b == nil {
		return
	}
	now := b.now()
	passed := now.Sub(b.began)
	if now.Sub(b.drawn) < drawEvery || b.drawn.IsZero() && passed < drawEvery {
		return
	}
	rate := float64(done) / passed.Seconds()
	left := ""
	if rate > 0 && all > done && passed > time.Second {
		left = fmt.Sprintf("  %v left", time.Duration(float64(all-done)/rate*float64(time.Second)).Round(time.Second))
	}
	b.draw(done, all, fmt.Sprintf("%s of %s  %s/s%s", size(done), size(all), size(int64(rate)), left))
}

// Permille shows that done of 1,000 are done, with a few words.
func (b *Bar) Permille(done int64, words string) {
	if b == nil || b.now().Sub(b.drawn) < drawEvery {
		return
	}
	b.draw(done, 1000, words)
}

func (b *Bar) draw(done, all int64, words string) {
	b.drawn = b.now()
	share := 1.0
	if all > 0 {
		share = min(float64(done)/float64(all), 1)
	}
	head := fmt.Sprintf("%s %3.0f %%", b.what, 100*share)
	columns := b.columns()
	line := head + "  " + words
	if room := columns - 1 - utf8.RuneCountInString(line) - 4; room >= 10 {
		room = min(room, 30)
		line = head + " [" + filled(share, room) + "]  " + words
	}
	if columns > 1 && utf8.RuneCountInString(line) >= columns {
		line = string([]rune(line)[:columns-1])
	}
	fmt.Fprint(b.w, "\r\x1b[K"+line)
}

// tell shows how far a command is: on a terminal in place of what it told before, elsewhere as a line of its own.
func (e *Env) tell(line string) {
	columns := columnsOf(e.Out)
	if columns == 0 {
		fmt.Fprintln(e.Out, line)
		return
	}
	if columns > 1 && utf8.RuneCountInString(line) >= columns {
		line = string([]rune(line)[:columns-1])
	}
	fmt.Fprint(e.Out, "\r\x1b[K"+line)
}

// told leaves what tell showed last where it is.
func (e *Env) told() {
	if columnsOf(e.Out) > 0 {
		fmt.Fprintln(e.Out)
	}
}

// meter is a picture of how much is done, and a space, on a terminal that is wide enough; elsewhere nothing.
func (e *Env) meter(done, all int64) string {
	const room = 20
	if columnsOf(e.Out) < 4*room || all <= 0 {
		return ""
	}
	return "[" + filled(float64(done)/float64(all), room) + "] "
}

// filled is a meter of so many columns.
func filled(share float64, columns int) string {
	full := int(min(max(share, 0), 1) * float64(columns))
	return strings.Repeat("#", full) + strings.Repeat(".", columns-full)
}

// columnsOf is how wide a terminal is, 0 if w is none.
func columnsOf(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return max(int(size.Col), 1)
}

// End takes the bar away.
func (b *Bar) End() {
	if b != nil && !b.drawn.IsZero() {
		fmt.Fprint(b.w, "\r\x1b[K")
		b.drawn = time.Time{}
	}
}
