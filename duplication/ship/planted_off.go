//go:build !plantedbugs

package ship

// planted tells whether a bug was put in on purpose; never in a build without the tag.
func planted(string) bool { return false }
