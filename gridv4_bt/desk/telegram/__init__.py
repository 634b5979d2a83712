"""The bots on the phone: a Telegram bot with the desk's readings and commands, and what it tells unasked."""
