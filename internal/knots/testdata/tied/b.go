package tied

func down[T any]() { f := again; f() }

type b struct{}

func (b) do() { top() }
