package embed

import (
	"io"

	"github.com/sirupsen/logrus"
)

// redirectLog sends what BuildKit and containerd log to w.
//
// Both log to logrus's one logger of the process, so this is the one setting
// that an engine shares with other users of logrus in the same process. Without
// a writer, the level is raised too, because formatting costs time.
func redirectLog(w io.Writer, debug bool) {
	if w == nil {
		logrus.SetOutput(io.Discard)
		logrus.SetLevel(logrus.PanicLevel)
		return
	}
	level := logrus.InfoLevel
	if debug {
		level = logrus.DebugLevel
	}
	logrus.SetOutput(w)
	logrus.SetLevel(level)
}
