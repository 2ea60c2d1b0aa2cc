package metrics

// Forget takes the last definition back.
func Forget() { catalogue = catalogue[:len(catalogue)-1] }

// AbsentOnes are absent.
var AbsentOnes = absent
