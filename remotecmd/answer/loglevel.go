package answer

// LogLevel is what the remote command log-level answers.
type LogLevel struct {
	Level string `json:"level"` // of all packages but Packages
	// Packages are others, each PACKAGE=LEVEL.
	Packages []string `json:"packages"`
	Error    string   `json:"error,omitempty"`
}
