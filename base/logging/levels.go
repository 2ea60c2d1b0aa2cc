package logging

import (
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sirupsen/logrus"

	"pegasus/base/config"
)

// ErrLevel is that a text names no level, or no package.
var ErrLevel = errors.New("no level of the log")

// Levels decides which lines of a logger are written: it is the logger's formatter, as that is where
// the package that a line comes from is known.
type Levels struct {
	logger *logrus.Logger
	form   logrus.Formatter
	mu     sync.Mutex // of changes
	now    atomic.Pointer[levels]
}

type levels struct {
	all      logrus.Level
	packages map[string]logrus.Level
}

// installing is held while a logger gets its Levels.
var installing sync.Mutex

// Of returns the Levels of l, which gets them if it has none yet. From then on its level is changed
// by them only.
func Of(l *logrus.Logger) *Levels {
	installing.Lock()
	defer installing.Unlock()
	if v, ok := l.Formatter.(*Levels); ok {
		return v
	}
	v := &Levels{logger: l, form: l.Formatter}
	v.now.Store(&levels{all: l.GetLevel()})
	l.SetReportCaller(true)
	l.SetFormatter(v)
	return v
}

// Format implements logrus.Formatter. It returns nothing for a line that isn't wanted.
func (v *Levels) Format(e *logrus.Entry) ([]byte, error) {
	now := v.now.Load()
	level := now.all
	if len(now.packages) > 0 && e.Caller != nil {
		level = now.of(packageOf(e.Caller.Function))
	}
	if e.Level > level {
		return nil, nil
	}
	return v.form.Format(e)
}

// of returns the level of a package: its own, or that of the nearest package above it that has
// one.
func (n *levels) of(name string) logrus.Level {
	for name != "" {
		if l, ok := n.packages[name]; ok {
			return l
		}
		name = name[:max(0, strings.LastIndexByte(name, '/'))]
	}
	return n.all
}

// module is how the names of our packages begin.
const module = "pegasus/"

// packageOf returns the package of a function's full name, without the module's name.
func packageOf(function string) string {
	slash := max(0, strings.LastIndexByte(function, '/'))
	if dot := strings.IndexByte(function[slash:], '.'); dot >= 0 {
		function = function[:slash+dot]
	}
	return strings.TrimPrefix(function, module)
}

// at says where a line comes from: package, file and line number.
func at(f *runtime.Frame) (function, file string) {
	return "", packageOf(f.Function) + "/" + f.File[strings.LastIndexByte(f.File, '/')+1:] + ":" + strconv.Itoa(f.Line)
}

// set puts levels in place. The logger itself lets pass what any package wants.
func (v *Levels) set(n *levels) {
	v.now.Store(n)
	most := n.all
	for _, l := range n.packages {
		most = max(most, l)
	}
	v.logger.SetLevel(most)
}

// Set sets the level of all packages that have none of their own. The error wraps ErrLevel.
func (v *Levels) Set(level string) error {
	l, err := logrus.ParseLevel(level)
	if err != nil {
		return fmt.Errorf("%w: %q", ErrLevel, level)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.set(&levels{all: l, packages: v.now.Load().packages})
	return nil
}

// SetPackages sets the levels of packages, each "PACKAGE=LEVEL"; all others have the common one. The
// error wraps ErrLevel, and nothing is changed then.
func (v *Levels) SetPackages(list []string) error {
	return v.change(list, map[string]logrus.Level{})
}

// Change changes levels: "LEVEL" is the common one, "PACKAGE=LEVEL" that of a package, "PACKAGE=" gives
// a package the common one. The error wraps ErrLevel, and nothing is changed then.
func (v *Levels) Change(list []string) error { return v.change(list, nil) }

// change carries out changes of packages, in place of the levels of packages that there are if that is nil.
func (v *Levels) change(list []string, packages map[string]logrus.Level) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	n := &levels{all: v.now.Load().all, packages: packages}
	if packages == nil {
		n.packages = maps.Clone(v.now.Load().packages)
	}
	if n.packages == nil {
		n.packages = map[string]logrus.Level{}
	}
	for _, s := range list {
		name, word, named := strings.Cut(s, "=")
		if !named {
			name, word = "", s
		} else if word == "" {
			delete(n.packages, name)
			continue
		}
		if named {
			if problem := config.CheckPackageLevel(s); problem != "" {
				return fmt.Errorf("%w: %s", ErrLevel, problem)
			}
		}
		l, err := logrus.ParseLevel(word)
		switch {
		case err != nil:
			return fmt.Errorf("%w: %q", ErrLevel, s)
		case named:
			n.packages[name] = l
		default:
			n.all = l
		}
	}
	v.set(n)
	return nil
}

// Get returns the common level, and those of packages as SetPackages takes them, sorted.
func (v *Levels) Get() (level string, packages []string) {
	n := v.now.Load()
	packages = []string{}
	for name, l := range n.packages {
		packages = append(packages, name+"="+word(l))
	}
	slices.Sort(packages)
	return word(n.all), packages
}

// word is a level as the configuration writes it: of those that it hasn't, the nearest.
func word(l logrus.Level) string {
	switch l {
	case logrus.InfoLevel:
		return "info"
	case logrus.WarnLevel:
		return "warn"
	case logrus.DebugLevel, logrus.TraceLevel:
		return "debug"
	}
	return "error"
}
