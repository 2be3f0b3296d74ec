-- No items.
anyone = true
