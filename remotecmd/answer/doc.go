// Package answer defines what remote commands answer in JSON. The server that answers and the
// tool that asks share these types, so a field has one name.
//
// It owns the types and the words in them. It must not know how an answer is made, nor how it
// is shown, and imports nothing of this module.
package answer
