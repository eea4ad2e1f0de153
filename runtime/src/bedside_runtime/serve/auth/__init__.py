"""Who may ask on the public port: one decision a request, made when its head has arrived."""
