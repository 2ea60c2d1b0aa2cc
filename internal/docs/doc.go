// Package docs checks what the documentation says about the repository. It has tests only.
package docs
