"""Where programs come from: what their files hold, and what their package says of them."""
