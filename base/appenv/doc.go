// Package appenv knows the settings ("app envs") that a table can have: their names, what
// values they take, and the exact words in which upstream's meta server refuses others,
// because its tools show them to the user.
//
// It must not know tables, or what a setting does.
package appenv
