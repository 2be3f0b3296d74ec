-- storey: what follows is made one function deeper. A function that takes a local of its own function along is dear to
-- make when there are many such locals; one that takes it from a function further out isn't.
return (function()
