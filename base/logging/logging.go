package logging

import (
	"io"

	"github.com/sirupsen/logrus"

	"pegasus/base/config"
)

// stamp is how a line tells its time.
const stamp = "2006-01-02T15:04:05.000Z07:00"

// New returns a log that writes to w. The configuration's check has spoken: what is no level is
// ignored.
func New(cfg config.Logging, w io.Writer) *logrus.Entry {
	l := logrus.New()
	l.SetOutput(lines{w})
	names := logrus.FieldMap{logrus.FieldKeyFile: "at"}
	if cfg.JSON {
		l.SetFormatter(&logrus.JSONFormatter{TimestampFormat: stamp, FieldMap: names, CallerPrettyfier: at})
	} else {
		l.SetFormatter(&logrus.TextFormatter{FullTimestamp: true, TimestampFormat: stamp, DisableColors: true, FieldMap: names, CallerPrettyfier: at})
	}
	v := Of(l)
	v.Set(cfg.Level)
	v.SetPackages(cfg.Packages)
	return logrus.NewEntry(l)
}

// lines passes on what isn't empty.
type lines struct{ io.Writer }

// Write implements io.Writer.
func (l lines) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	return l.Writer.Write(b)
}

// Flush waits until what was logged is written, as far as the disk lets it.
func Flush(l *logrus.Logger) {
	if f, ok := l.Out.(*File); ok {
		f.Flush()
	}
}
