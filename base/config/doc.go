// Package config is the one definition of every configuration key: its name, type,
// default, unit and meaning stand in the struct tags of Config. The example file and the
// help texts are written from them.
//
// Load is strict: an unknown key, a value of the wrong type, or a value out of its range
// is an error that names the file, the key and what would be right. The package knows no
// other package of ours.
package config
