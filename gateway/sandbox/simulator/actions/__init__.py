"""The actions of users, and the updates that result from them."""
